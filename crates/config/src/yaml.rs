//! YAML as written: a tree in which every key and every value knows where it stands.
//!
//! Why a tree and not structs that serde fills: serde stops at the first problem, and `adit check` shows all of them;
//! it also has no place for the keys nobody asked for, which are half of what a check is about.
//!
//! An alias is the number of its anchor's node, not a copy, and merge keys have a budget, so the tree is never larger
//! than the file by more than that budget (F-D3). Nodes live in one table: however deep aliases of aliases go, neither
//! building nor dropping the tree recurses.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span};

use crate::report::{Draft, LineStarts, Report};

/// A range of bytes of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct At {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl At {
    /// The start of the file, for what has no place in it.
    pub(crate) const NOWHERE: Self = Self { start: 0, end: 0 };

    pub(crate) fn new(start: usize, end: usize) -> Self {
        let clamp = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Self { start: clamp(start), end: clamp(end.max(start)) }
    }

    pub(crate) fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    pub(crate) fn contains(self, other: Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }
}

/// A value's number in its [`Document`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct NodeId(u32);

/// One value.
#[derive(Debug)]
pub(crate) struct Node<'s> {
    pub(crate) at: At,
    pub(crate) shape: Shape<'s>,
}

/// What a value looks like. Scalars keep their text: `0123` stays `0123` until somebody asks for a number.
#[derive(Debug)]
pub(crate) enum Shape<'s> {
    Null,
    Scalar(Cow<'s, str>),
    List(Vec<NodeId>),
    Map(Vec<Entry<'s>>),
}

/// One key of a mapping with its value. Merge keys are already expanded.
#[derive(Clone, Debug)]
pub(crate) struct Entry<'s> {
    pub(crate) key: Cow<'s, str>,
    pub(crate) at: At,
    pub(crate) value: NodeId,
}

/// A parsed file.
#[derive(Debug)]
pub(crate) struct Document<'s> {
    nodes: Vec<Node<'s>>,
    pub(crate) root: NodeId,
    /// Where values stand that some alias refers to, in order; of those that begin together the innermost first.
    used_anchors: Vec<At>,
}

impl<'s> Document<'s> {
    pub(crate) fn node(&self, id: NodeId) -> &Node<'s> {
        node(&self.nodes, id)
    }

    /// Whether `at` holds an anchor that is used somewhere: then it is a template, whatever its key is called.
    pub(crate) fn is_template(&self, at: At) -> bool {
        // Values contain each other or stand apart, so of those that begin here or later only the first can tell.
        let next = self.used_anchors.partition_point(|anchor| anchor.start < at.start);
        self.used_anchors.get(next).is_some_and(|anchor| at.contains(*anchor))
    }
}

fn node<'n, 's>(nodes: &'n [Node<'s>], id: NodeId) -> &'n Node<'s> {
    static NOTHING: Node<'static> = Node { at: At { start: 0, end: 0 }, shape: Shape::Null };
    nodes.get(id.0 as usize).unwrap_or(&NOTHING)
}

/// More merged keys than this is a file made to hurt.
const MERGED_KEYS: usize = 500_000;

/// Larger files are refused unread; the largest real rule lists in one config file have 10 MB.
const MAX_BYTES: usize = 64 << 20;

/// Parses `text`. Syntax errors end the parse and are reported; duplicate keys are reported and the first one wins.
/// `None` if there is no tree to work with, which includes a file without content.
pub(crate) fn parse<'s>(text: &'s str, report: &Report) -> Option<Document<'s>> {
    parse_over(text, text.len(), report)
}

/// The same where another document begins at `second`, a mapping whose entries take the place of those of the first.
pub(crate) fn parse_over<'s>(text: &'s str, second: usize, report: &Report) -> Option<Document<'s>> {
    if text.len() > MAX_BYTES {
        report.add(Draft::error(At::NOWHERE, "the file is larger than 64 MiB"));
        return None;
    }
    let mut tree = Builder::new(text, report);
    tree.read(0..second)?;
    if let (Some(first), true) = (tree.root, second < text.len()) {
        tree.root = None;
        tree.read(second..text.len())?;
        // What is no configuration is not made one.
        let is_map = matches!(tree.node(first).shape, Shape::Map(_));
        tree.root = if is_map { Some(tree.laid_over(first, tree.root?)) } else { Some(first) };
    }
    tree.used_anchors.sort_unstable_by_key(|at| (at.start, at.end));
    tree.used_anchors.dedup();
    Some(Document { root: tree.root?, nodes: tree.nodes, used_anchors: tree.used_anchors })
}

fn syntax_error(text: &str, offset: usize, error: &ScanError) -> Draft {
    let message = error.info();
    let mut start = error.marker().byte_offset().map_or(text.len(), |at| offset + at).min(text.len());
    let tab = message.contains("tab").then(|| text.get(start..)?.find('\t')).flatten();
    if let Some(tab) = tab {
        start += tab;
        return Draft::error(At::new(start, start + 1), "not valid YAML: a tab where only spaces may be")
            .hint("YAML is indented with spaces");
    }
    // An error at the end of the file belongs to the last line that has something on it.
    if text.get(start..).unwrap_or("").trim().is_empty() {
        start = text.trim_end().len();
    }
    let rest = text.get(start..).unwrap_or("");
    let word = rest.find(char::is_whitespace).unwrap_or(rest.len());
    Draft::error(At::new(start, start + word), format!("not valid YAML: {message}"))
}

/// Makes the tree out of events, with a stack of its own: depth costs memory here, never call frames.
struct Builder<'s, 'r> {
    text: &'s str,
    report: &'r Report,
    /// Where the document begins that is read.
    offset: usize,
    nodes: Vec<Node<'s>>,
    open: Vec<Open<'s>>,
    root: Option<NodeId>,
    /// By the parser's number; `None` while the anchored collection is still open.
    anchors: HashMap<usize, Option<NodeId>>,
    used_anchors: Vec<At>,
    merged: usize,
    lines: Option<LineStarts<'s>>,
}

/// A collection whose end has not come yet.
struct Open<'s> {
    start: usize,
    anchor: usize,
    inside: Inside<'s>,
}

enum Inside<'s> {
    List(Vec<NodeId>),
    Map { entries: Vec<Entry<'s>>, merges: Vec<(At, NodeId)>, key: Option<(Cow<'s, str>, At)> },
}

type Grown = Result<(), Draft>;

impl<'s, 'r> Builder<'s, 'r> {
    fn new(text: &'s str, report: &'r Report) -> Self {
        Self {
            text,
            report,
            offset: 0,
            nodes: Vec::new(),
            open: Vec::new(),
            root: None,
            anchors: HashMap::new(),
            used_anchors: Vec::new(),
            merged: 0,
            lines: None,
        }
    }

    /// Reads the document that stands at `range`; `None` if a problem ended it.
    fn read(&mut self, range: Range<usize>) -> Option<()> {
        self.offset = range.start;
        let options = granit_parser::options! { emit_comments: false };
        for next in Parser::new_from_str_with_options(self.text.get(range)?, options) {
            let grown = match next {
                Ok((event, span)) => self.grow(event, span),
                Err(error) => Err(syntax_error(self.text, self.offset, &error)),
            };
            if let Err(problem) = grown {
                self.report.add(problem);
                return None;
            }
        }
        Some(())
    }

    /// A mapping with the entries of both, those of `over` where both have one; anything else is `over`.
    fn laid_over(&mut self, under: NodeId, over: NodeId) -> NodeId {
        let (Shape::Map(below), Shape::Map(above)) = (&self.node(under).shape, &self.node(over).shape) else {
            return over;
        };
        let mut entries = below.clone();
        for entry in above.clone() {
            match entries.iter_mut().find(|below| below.key == entry.key) {
                Some(place) => *place = Entry { value: self.laid_over(place.value, entry.value), ..entry },
                None => entries.push(entry),
            }
        }
        let at = self.node(under).at;
        self.made(Node { at, shape: Shape::Map(entries) }, 0)
    }

    fn grow(&mut self, event: Event<'s>, span: Span) -> Grown {
        let range = span.byte_range().unwrap_or(0..0);
        let at = At::new(self.offset + range.start, self.offset + range.end);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let is_text = style != ScalarStyle::Plain || tag.is_some_and(|tag| tag.is_yaml_core_schema_tag("str"));
                let shape = match &*text {
                    "" | "~" | "null" | "Null" | "NULL" if !is_text => Shape::Null,
                    _ => Shape::Scalar(text),
                };
                let node = self.made(Node { at, shape }, anchor);
                self.place(node, at)
            }
            Event::Alias(anchor) => {
                let Some(&Some(node)) = self.anchors.get(&anchor) else {
                    return Err(Draft::error(at, "this alias stands inside what it refers to"));
                };
                self.used_anchors.push(self.node(node).at);
                self.place(node, at)
            }
            Event::SequenceStart(_, anchor, _) => {
                self.enter(at, anchor, Inside::List(Vec::new()));
                Ok(())
            }
            Event::MappingStart(_, anchor, _) => {
                let inside = Inside::Map { entries: Vec::new(), merges: Vec::new(), key: None };
                self.enter(at, anchor, inside);
                Ok(())
            }
            Event::SequenceEnd | Event::MappingEnd => self.leave(at),
            Event::DocumentStart(..) if self.root.is_some() => {
                Err(Draft::error(at, "a second YAML document begins here; a configuration is one document"))
            }
            _ => Ok(()),
        }
    }

    fn enter(&mut self, at: At, anchor: usize, inside: Inside<'s>) {
        if anchor != 0 {
            self.anchors.insert(anchor, None);
        }
        self.open.push(Open { start: at.start as usize, anchor, inside });
    }

    fn leave(&mut self, end: At) -> Grown {
        let Some(Open { start, anchor, inside }) = self.open.pop() else {
            return Ok(());
        };
        let shape = match inside {
            Inside::List(items) => Shape::List(items),
            Inside::Map { entries, merges, .. } => Shape::Map(self.completed(entries, merges)?),
        };
        // A block collection ends where the next token begins; the blank lines between are not part of it.
        let written = self.text.get(start..end.end as usize).unwrap_or("").trim_end().len();
        let at = At::new(start, start + written);
        let node = self.made(Node { at, shape }, anchor);
        self.place(node, at)
    }

    fn node(&self, id: NodeId) -> &Node<'s> {
        node(&self.nodes, id)
    }

    fn made(&mut self, node: Node<'s>, anchor: usize) -> NodeId {
        // Every node takes a byte of at most `MAX_BYTES`, or is null; the number fits.
        let id = NodeId(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
        self.nodes.push(node);
        if anchor != 0 {
            self.anchors.insert(anchor, Some(id));
        }
        id
    }

    /// Puts a finished node where it belongs; `at` is where it is mentioned (the alias, not the anchor).
    fn place(&mut self, node: NodeId, at: At) -> Grown {
        match self.open.last_mut().map(|open| &mut open.inside) {
            None => self.root = Some(node),
            Some(Inside::List(items)) => items.push(node),
            Some(Inside::Map { entries, merges, key }) => match key.take() {
                None => match &self::node(&self.nodes, node).shape {
                    Shape::Scalar(text) => *key = Some((text.clone(), at)),
                    Shape::Null => *key = Some((Cow::Borrowed("null"), at)),
                    Shape::List(_) | Shape::Map(_) => {
                        return Err(Draft::error(at, "a list or a mapping cannot be a key here"));
                    }
                },
                Some((name, _)) if name == "<<" => merges.push((at, node)),
                Some((name, at)) => entries.push(Entry { key: name, at, value: node }),
            },
        }
        Ok(())
    }

    /// Reports duplicate keys and adds what the merge keys bring: written keys win, then the first merge that has it.
    fn completed(&mut self, written: Vec<Entry<'s>>, merges: Vec<(At, NodeId)>) -> Result<Vec<Entry<'s>>, Draft> {
        let mut entries: Vec<Entry<'s>> = Vec::with_capacity(written.len());
        let mut seen: HashMap<Cow<'s, str>, At> = HashMap::with_capacity(written.len());
        for entry in written {
            if let Some(first) = seen.get(&entry.key) {
                let line = self.lines.get_or_insert_with(|| LineStarts::new(self.text)).line(first.start);
                let key = crate::report::shown(&entry.key);
                let text = format!("mapping key \"{key}\" already defined at line {line}");
                self.report.add(Draft::error(entry.at, text));
                continue;
            }
            seen.insert(entry.key.clone(), entry.at);
            entries.push(entry);
        }
        for (at, merge) in merges {
            let sources = match &self.node(merge).shape {
                Shape::List(several) => several.clone(),
                _ => vec![merge],
            };
            for source in sources {
                let Shape::Map(inherited) = &node(&self.nodes, source).shape else {
                    return Err(Draft::error(at, "map merge requires map or sequence of maps as the value"));
                };
                self.merged += inherited.len();
                if self.merged > MERGED_KEYS {
                    return Err(Draft::error(at, format!("more than {MERGED_KEYS} keys come from merges (`<<`)")));
                }
                for entry in inherited {
                    if seen.insert(entry.key.clone(), entry.at).is_none() {
                        entries.push(Entry { key: entry.key.clone(), at: entry.at, value: entry.value });
                    }
                }
            }
        }
        Ok(entries)
    }
}
