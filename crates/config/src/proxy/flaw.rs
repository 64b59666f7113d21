//! What can be wrong with one proxy, before it is known where it was written.

/// One thing that is wrong with a proxy, whether it came from YAML or from a share link.
#[derive(Clone, Debug)]
pub(crate) struct Flaw {
    /// The YAML key it is about.
    pub(crate) key: &'static str,
    pub(crate) gravity: Gravity,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

/// What a flaw means for the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gravity {
    /// Nobody could use this.
    Wrong,
    /// Right, but not for us: the proxy must refuse everything rather than be something else.
    Unsupported,
    /// Works, probably not as meant.
    Doubtful,
}

impl Flaw {
    pub(crate) fn wrong(key: &'static str, message: impl Into<String>) -> Self {
        Self::new(key, Gravity::Wrong, message.into())
    }

    pub(crate) fn unsupported(key: &'static str, message: impl Into<String>) -> Self {
        Self::new(key, Gravity::Unsupported, message.into())
    }

    pub(crate) fn doubtful(key: &'static str, message: impl Into<String>) -> Self {
        Self::new(key, Gravity::Doubtful, message.into())
    }

    fn new(key: &'static str, gravity: Gravity, message: String) -> Self {
        Self { key, gravity, message, hint: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
