//! What was of use lately.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

/// A bounded map in two generations: what is not looked up during a whole generation is forgotten.
///
/// INVARIANT: each generation holds at most `half` entries. Both operations take constant (amortised) time.
pub(crate) struct Recent<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    half: usize,
}

impl<K: Eq + Hash, V> Recent<K, V> {
    /// Holds at most `capacity` entries (2 or more).
    pub(crate) fn new(capacity: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), half: (capacity / 2).max(1) }
    }

    /// The value of `key`, which is remembered for longer because of it.
    pub(crate) fn get<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        if let Some((key, value)) = self.old.remove_entry(key) {
            self.insert(key, value);
        }
        self.young.get(key)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        self.old.remove(&key);
        if self.young.len() >= self.half && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }

    pub(crate) fn remove<Q: Eq + Hash + ?Sized>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
    {
        self.young.remove(key);
        self.old.remove(key);
    }

    pub(crate) fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_small_and_remembers_what_is_looked_up() {
        let mut recent = Recent::new(10);
        recent.insert("favourite".to_owned(), 0);
        for i in 0..1000 {
            recent.insert(i.to_string(), i);
            assert_eq!(recent.get("favourite"), Some(&0), "{i}");
            assert!(recent.young.len() <= 5 && recent.old.len() <= 5);
        }
        assert_eq!(recent.get("0"), None);
        assert_eq!(recent.get("999"), Some(&999));
        recent.insert("999".into(), 1);
        assert_eq!(recent.get("999"), Some(&1));
        recent.remove("999");
        assert_eq!(recent.get("999"), None);
        recent.clear();
        assert_eq!(recent.get("favourite"), None);
    }
}
