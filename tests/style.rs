//! The project's own rules, where a compiler does not know them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const LINES_MAX: usize = 800;

/// Folders whose content is the project.
const FOLDERS: [&str; 10] =
    [".ci", "book", "docs", "examples", "feed", "journal", "latency-bench", "replay-data", "src", "tests"];

/// Packages by floor, lowest first: a package uses those of lower floors only.
const FLOORS: [(&str, &str, u32); 8] = [
    ("latency-bench/allocations", "tickcore-allocations", 0),
    ("book", "tickcore-book", 1),
    ("latency-bench/recorder", "tickcore-latency", 1),
    ("feed", "tickcore-feed", 2),
    ("journal", "tickcore-journal", 2),
    ("replay-data", "tickcore-replay-data", 2),
    (".", "tickcore", 3),
    ("latency-bench", "tickcore-latency-bench", 4),
];

/// On one floor, and no circle: golden results are taken with the decoder.
const NEIGHBOURS: [(&str, &str); 1] = [("tickcore-replay-data", "tickcore-feed")];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn collect(folder: &Path, extensions: &[&str], files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.expect("the sources can be read").path();
        if path.is_dir() {
            if path.file_name().is_none_or(|name| name != "target") {
                collect(&path, extensions, files);
            }
        } else if path.extension().is_some_and(|extension| extensions.iter().any(|wanted| extension == *wanted)) {
            files.push(path);
        }
    }
}

/// The project's files with one of these extensions, and their text.
fn files(extensions: &[&str]) -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    FOLDERS.iter().for_each(|folder| collect(&root().join(folder), extensions, &mut files));
    let top = ["README.md", "CHANGELOG.md", "Cargo.toml"].map(|name| root().join(name));
    files.extend(top.into_iter().filter(|path| {
        path.is_file() && path.extension().is_some_and(|extension| extensions.iter().any(|wanted| extension == *wanted))
    }));
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (path, text)
    };
    files.into_iter().map(read).collect()
}

fn sources() -> Vec<(PathBuf, String)> {
    let sources = files(&["rs"]);
    assert!(sources.len() > 100, "only {} files were found: the walk is wrong", sources.len());
    sources
}

/// Says all that is wrong, not the first of it.
fn none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

fn lines_with(texts: &[(PathBuf, String)], is_bad: impl Fn(&str) -> bool) -> Vec<String> {
    let in_text = |(path, text): &(PathBuf, String)| {
        let bad = (1..).zip(text.lines()).filter(|(_, line)| is_bad(line));
        bad.map(|(number, line)| format!("{}:{number}: {}", path.display(), line.trim())).collect::<Vec<_>>()
    };
    texts.iter().flat_map(in_text).collect()
}

#[test]
fn files_are_short_enough_to_read() {
    let long = sources().into_iter().map(|(path, text)| (path, text.lines().count()));
    let long: Vec<String> = long
        .filter(|(_, lines)| *lines > LINES_MAX)
        .map(|(path, lines)| format!("{}: {lines}", path.display()))
        .collect();
    none(&format!("files of more than {LINES_MAX} lines"), &long);
}

#[test]
fn nothing_is_left_undone() {
    // In two halves, or this file would find itself.
    let marks = [["to", "do!("], ["d", "bg!("], ["unimple", "mented!("], ["TO", "DO"], ["FIX", "ME"], ["X", "XX"]]
        .map(|halves| halves.concat());
    let undone = lines_with(&sources(), |line| marks.iter().any(|mark| line.contains(mark)));
    none("left undone", &undone);
}

/// A permission is an inner attribute, of a file or a module within it, and stands before the first use: a reader meets it
/// first. One for a single item would hide among the others.
#[test]
fn unsafe_code_stands_in_modules_made_for_it() {
    let keywords = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern", "unsafe trait"];
    let mut found = Vec::new();
    let mut permissions = 0;
    for (path, text) in sources() {
        let mut is_permitted = false;
        for (number, line) in (1..).zip(text.lines().map(str::trim_start)) {
            if line.starts_with("//") || line.contains('"') {
                continue;
            }
            if line.contains("allow(unsafe_code") {
                is_permitted |= line.starts_with("#![");
                permissions += usize::from(is_permitted);
            }
            let is_item_permission = line.starts_with("#[") && line.contains("allow(unsafe_code");
            let is_use = keywords.iter().any(|keyword| line.contains(keyword));
            if is_item_permission || (is_use && !is_permitted) {
                found.push(format!("{}:{number}: {line}", path.display()));
            }
        }
    }
    assert!(permissions > 5, "only {permissions} permissions were found: the reading is wrong");
    none("unsafe code without a permission on top of its module", &found);
}

/// Names of the workspace's packages in the sections of a manifest that `is_wanted` takes.
fn dependencies(manifest: &str, is_wanted: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut is_in = false;
    for line in manifest.lines() {
        if let Some(section) = line.strip_prefix('[') {
            is_in = !section.starts_with("workspace") && is_wanted(section.trim_end_matches(']'));
        } else if is_in && line.starts_with("tickcore") {
            names.insert(line.split(['.', ' ', '=']).next().unwrap_or_default().to_owned());
        }
    }
    names
}

#[test]
fn imports_run_downwards() {
    let floor_of: BTreeMap<&str, u32> = FLOORS.iter().map(|&(_, package, floor)| (package, floor)).collect();
    let mut found = Vec::new();
    let mut edges = 0;
    for (folder, package, floor) in FLOORS {
        let path = root().join(folder).join("Cargo.toml");
        let manifest = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(manifest.contains(&format!("name = \"{package}\"")), "{} is of another package", path.display());
        for used in dependencies(&manifest, |section| section.ends_with("dependencies")) {
            // Its own tests may want its features.
            if used == package {
                continue;
            }
            edges += 1;
            let is_neighbour = NEIGHBOURS.contains(&(package, &used));
            match floor_of.get(used.as_str()) {
                None => found.push(format!("{package} uses {used}, which stands on no floor")),
                Some(other) if *other >= floor && !is_neighbour => {
                    found.push(format!("{package} on floor {floor} uses {used} on floor {other}"));
                }
                Some(_) => {}
            }
        }
    }
    assert!(edges > 10, "only {edges} dependencies were found: the reading is wrong");
    none("imports that do not run downwards", &found);
}

#[test]
fn every_package_stands_behind_the_wall_of_lints() {
    let bare = FLOORS.iter().filter(|(folder, ..)| {
        let manifest = fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap_or_default();
        !manifest.contains("[lints]\nworkspace = true")
    });
    none("without the lints of the workspace", &bare.map(|(_, package, _)| (*package).to_owned()).collect::<Vec<_>>());
}

#[test]
fn no_machine_is_named() {
    let here = format!("{}/", root().canonicalize().expect("the project is somewhere").display());
    let places = [here.as_str(), "/root/", "/home/", "/Users/"];
    let texts: Vec<_> =
        files(&["rs", "md", "toml"]).into_iter().filter(|(path, _)| !path.ends_with("tests/style.rs")).collect();
    none("paths of some machine", &lines_with(&texts, |line| places.iter().any(|place| line.contains(place))));
}
