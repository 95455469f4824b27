//! usage: json-oracle FOLDER...
//!
//! Prints "valid PATH" or "invalid PATH" for every file, in order of names: serde_json's opinion, with the two
//! rules of our own that a document has to obey as well (128 nested containers, no key twice in the top object).
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use std::collections::HashSet;

const MAX_DEPTH: usize = 128;

/// A document by the depth of its nesting.
struct Document(usize);

struct DocumentVisitor;

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DocumentVisitor)
    }
}

impl<'de> Visitor<'de> for DocumentVisitor {
    type Value = Document;

    fn expecting(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        formatter.write_str("a JSON document")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Document, A::Error> {
        let (mut keys, mut deepest) = (HashSet::new(), 0);
        while let Some(key) = map.next_key::<String>()? {
            deepest = deepest.max(depth(&map.next_value()?));
            if !keys.insert(key) {
                return Err(A::Error::custom("duplicate key"));
            }
        }
        Ok(Document(deepest + 1))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Document, A::Error> {
        let mut deepest = 0;
        while let Some(value) = seq.next_element()? {
            deepest = deepest.max(depth(&value));
        }
        Ok(Document(deepest + 1))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Document, E> {
        Ok(Document(0))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Document, E> {
        Ok(Document(0))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Document, E> {
        Ok(Document(0))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Document, E> {
        Ok(Document(0))
    }

    fn visit_str<E>(self, _: &str) -> Result<Document, E> {
        Ok(Document(0))
    }

    fn visit_unit<E>(self) -> Result<Document, E> {
        Ok(Document(0))
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn is_valid(bytes: &[u8]) -> bool {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    deserializer.disable_recursion_limit();
    match Document::deserialize(&mut deserializer) {
        Ok(document) => deserializer.end().is_ok() && document.0 <= MAX_DEPTH,
        Err(_) => false,
    }
}

fn judge(folder: &str) -> std::io::Result<()> {
    let mut paths: Vec<_> = std::fs::read_dir(folder)?.collect::<Result<_, _>>()?;
    paths.sort_by_key(|entry| entry.path());
    for entry in paths {
        let verdict = if is_valid(&std::fs::read(entry.path())?) { "valid" } else { "invalid" };
        println!("{verdict} {}", entry.path().display());
    }
    Ok(())
}

fn main() -> std::io::Result<()> {
    // Deep documents are judged by recursion: on a stack that is large enough for any file here.
    let judges = std::thread::Builder::new().stack_size(256 << 20).spawn(|| -> std::io::Result<()> {
        std::env::args().skip(1).try_for_each(|folder| judge(&folder))
    })?;
    judges.join().expect("the judge panicked")
}
