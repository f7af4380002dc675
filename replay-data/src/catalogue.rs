//! The catalogue of public market data: what there is, where to get it, and what is known of it.
//!
//! Exchange data carries no open licence, so none of it is part of this project; the catalogue says where its owners
//! publish it. Figures stand here only with their source, checksums only when the owner or a download gave them.

use serde::Deserialize;

static TEXT: &str = include_str!("../catalogue.json");

/// All entries.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalogue {
    /// In the order of the catalogue, most useful first.
    pub files: Vec<Entry>,
}

/// A public file, or a page from which files are to be had.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The file's own name, or a made-up one for a page. Unique.
    pub name: String,
    /// Whose market, and by whom when it is not the venue that publishes.
    pub venue: String,
    /// What is in it.
    pub format: Format,
    /// Day of the session, `YYYY-MM-DD`; `None` when there are several.
    pub session_date: Option<String>,
    /// Where to get it.
    pub url: String,
    /// What the address leads to.
    pub url_is: UrlKind,
    /// SHA-256 of the file as published, 64 hex digits; `None` when not known.
    pub sha256: Option<String>,
    /// What is known of its content.
    pub figures: Vec<Figure>,
}

/// The format of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Nasdaq TotalView-ITCH 5.0 in BinaryFILE frames.
    Itch50,
    /// LOBSTER message and order book files.
    Lobster,
    /// Databento Binary Encoding.
    Dbn,
    /// Captures of IEX-TP packets.
    IexTp,
}

/// What an address leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UrlKind {
    /// The file itself.
    File,
    /// A page or listing from which files are chosen.
    Page,
}

/// A number that is known of a file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figure {
    /// What was counted: `messages`, `payload_bytes`, `messages_of_type_A` …
    pub what: String,
    /// How many.
    pub value: u64,
    /// 1 for an exact count; otherwise what it was rounded to.
    pub rounded_to: u64,
    /// Who says so.
    pub source: String,
}

impl Catalogue {
    /// The catalogue that this version came with.
    ///
    /// # Panics
    /// Never: a test reads the same text.
    #[must_use]
    pub fn bundled() -> Self {
        serde_json::from_str(TEXT).expect("the catalogue in the package is well formed")
    }

    /// The entry with this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Entry> {
        self.files.iter().find(|entry| entry.name == name)
    }
}

impl Entry {
    /// The figure of this kind, if it is known.
    #[must_use]
    pub fn figure(&self, what: &str) -> Option<&Figure> {
        self.figures.iter().find(|figure| figure.what == what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn entries_are_unique_and_complete() {
        let catalogue = Catalogue::bundled();
        let names: HashSet<&str> = catalogue.files.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names.len(), catalogue.files.len());
        for entry in &catalogue.files {
            assert!(!entry.name.is_empty() && !entry.venue.is_empty(), "{entry:?}");
            assert!(entry.url.starts_with("https://") || entry.url.starts_with("ftp://"), "{entry:?}");
            assert_eq!(entry.url_is == UrlKind::File, entry.url.ends_with(&entry.name), "{entry:?}");
            if let Some(sha256) = &entry.sha256 {
                assert!(sha256.len() == 64 && sha256.bytes().all(|letter| letter.is_ascii_hexdigit()), "{entry:?}");
            }
            if let Some(date) = &entry.session_date {
                assert!(date.parse::<tickcore_feed::session::SessionDate>().is_ok(), "{entry:?}");
            }
            let whats: HashSet<&str> = entry.figures.iter().map(|figure| figure.what.as_str()).collect();
            assert_eq!(whats.len(), entry.figures.len(), "{entry:?}");
            for figure in &entry.figures {
                assert!(!figure.source.is_empty() && figure.value > 0, "{entry:?}");
                assert!(figure.rounded_to > 0 && figure.value.is_multiple_of(figure.rounded_to), "{entry:?}");
            }
        }
    }

    #[test]
    fn what_is_known_of_a_day_is_found_by_name() {
        let catalogue = Catalogue::bundled();
        let day = catalogue.find("01302019.NASDAQ_ITCH50.gz").expect("in the catalogue");
        assert_eq!(day.figure("messages").map(|figure| (figure.value, figure.rounded_to)), Some((368_366_634, 1)));
        assert_eq!(day.figure("messages_of_type_Z"), None);
        assert_eq!(catalogue.find("nothing"), None);
    }
}
