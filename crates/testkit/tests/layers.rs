//! The house stands as docs/architecture.md draws it: which crate may know which, what stays pure, and no dead links. And
//! what the manifests name is what docs/dependencies.md gives reasons for.
//!
//! It asks cargo and reads the sources; nothing of Postern is run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// What each crate may depend on, dev-dependencies apart. A crate that is not listed here may not exist: DESIGN's house
/// has nine, and the tenth has to be argued for.
const MAY_KNOW: &[(&str, &[&str])] = &[
    ("postern-smtp", &[]),
    ("postern-message", &["postern-smtp"]),
    ("postern-dns", &[]),
    ("postern-pki", &["postern-smtp", "postern-dns"]),
    ("postern-queue", &["postern-smtp"]),
    ("postern-mta", &["postern-smtp", "postern-message", "postern-dns", "postern-pki", "postern-queue"]),
    ("postern-console", &["postern-mta", "postern-queue", "postern-smtp"]),
    // The operations of `mta::admin` speak in the queue's and the protocol's types, so those two are known as well.
    ("postern-cli", &["postern-mta", "postern-console", "postern-queue", "postern-smtp"]),
    ("postern-testkit", &["postern-smtp", "postern-message", "postern-dns", "postern-pki", "postern-queue"]),
];

/// The crates without I/O and without a clock.
const PURE: &[&str] = &["postern-smtp", "postern-message"];

/// What begins the names of crates that do I/O or need a runtime.
const IMPURE: &[&str] = &[
    "tokio", "async", "futures", "mio", "smol", "socket2", "rustls", "hickory", "rusqlite", "nix", "fastrand",
];

/// What reads a clock, a socket, a file or an environment variable.
const OUTSIDE: &[&str] = &[
    "Instant::now(",
    "Timestamp::now(",
    "SystemTime",
    "std::fs",
    "std::env",
    "std::thread",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
];

#[test]
fn no_crate_knows_more_of_the_others_than_the_picture_allows() {
    let allowed: BTreeMap<&str, &[&str]> = MAY_KNOW.iter().copied().collect();
    for (name, package) in packages() {
        let allowed = allowed.get(name.as_str()).unwrap_or_else(|| panic!("{name} is not in the picture"));
        for known in dependencies(&package).filter(|known| known.starts_with("postern-")) {
            assert!(allowed.contains(&known.as_str()), "{name} must not depend on {known}");
        }
    }
}

#[test]
fn nothing_but_tests_depends_on_the_testkit() {
    for (name, package) in packages() {
        assert!(dependencies(&package).all(|known| known != "postern-testkit"), "{name} ships the testkit");
    }
}

#[test]
fn the_pure_crates_have_no_runtime_among_their_dependencies() {
    let packages = packages();
    for name in PURE {
        for known in dependencies(&packages[*name]) {
            let impure = IMPURE.iter().any(|prefix| known.starts_with(prefix));
            assert!(!impure, "{name} depends on {known}");
        }
    }
}

#[test]
fn the_pure_crates_ask_neither_a_clock_nor_the_system() {
    let packages = packages();
    for name in PURE {
        let sources = files_below(&folder_of(&packages[*name]).join("src"), "rs");
        assert!(sources.len() > 5, "{name} has hardly any sources: is the folder right?");
        for source in sources {
            let text = read(&source);
            let product = text.split("#[cfg(test)]").next().unwrap_or_default();
            for line in product.lines().filter(|line| !line.trim_start().starts_with("//")) {
                let found = OUTSIDE.iter().find(|outside| line.contains(**outside));
                assert!(found.is_none(), "{}: {}", source.display(), line.trim());
            }
        }
    }
}

#[test]
fn every_crate_forbids_unsafe_code() {
    let root = read(&workspace().join("Cargo.toml"));
    assert_eq!(setting(&root, "workspace.lints.rust", "unsafe_code").as_deref(), Some("\"forbid\""));
    for (name, package) in packages() {
        let manifest = read(&folder_of(&package).join("Cargo.toml"));
        let inherits = setting(&manifest, "lints", "workspace");
        assert_eq!(inherits.as_deref(), Some("true"), "{name} does not inherit the workspace's lints");
    }
}

#[test]
fn the_page_about_dependencies_names_what_the_manifests_name() {
    let page = read(&workspace().join("docs/dependencies.md"));
    let (shipped, rest) = page.split_once("## Only in tests").expect("a section about tests");
    let (tests, _) = rest.split_once("\n## ").expect("a section behind it");
    let (named, indirect) = first_cells(shipped);
    assert!(named.len() > 30, "only {} crates were found on the page: is the search right?", named.len());
    let packages = packages();
    let known: BTreeSet<String> =
        packages.values().flat_map(dependencies).filter(|name| is_foreign(name)).collect();
    let unexplained: Vec<_> = known.difference(&named).collect();
    assert!(
        unexplained.is_empty(),
        "in a manifest, and docs/dependencies.md does not say what for: {unexplained:?}"
    );
    let gone: Vec<_> = named.difference(&known).filter(|name| !indirect.contains(*name)).collect();
    assert!(gone.is_empty(), "explained in docs/dependencies.md, and in no manifest: {gone:?}");
    let of_tests = packages.values().flat_map(|package| dependencies_of(package, |kind| kind == Some("dev")));
    for name in of_tests.filter(|name| is_foreign(name) && !known.contains(name)) {
        assert!(
            tests.contains(&format!("`{name}`")),
            "docs/dependencies.md does not say which tests need {name}"
        );
    }
}

#[test]
fn crates_are_found_in_the_first_cells_of_tables() {
    let page = "`prose`\n| crate | for |\n|---|---|\n| `a`, `b` (pinned with `=`) | `c` |\n| `d` (by way of `a`) | |\n";
    let (named, indirect) = first_cells(page);
    assert_eq!(named.into_iter().collect::<Vec<_>>(), ["a", "b", "d"]);
    assert_eq!(indirect.into_iter().collect::<Vec<_>>(), ["d"]);
}

#[test]
fn every_relative_link_in_the_documents_leads_somewhere() {
    let root = workspace();
    let mut documents = vec![root.join("README.md"), root.join("CHANGELOG.md"), root.join("bench/README.md")];
    documents.extend(files_below(&root.join("docs"), "md"));
    let mut followed = 0;
    for document in documents {
        for target in links(&read(&document)) {
            let folder = document.parent().unwrap_or(&root);
            let exists = folder.join(&target).exists();
            assert!(exists, "{}: {target} does not exist", document.display());
            followed += 1;
        }
    }
    assert!(followed > 20, "only {followed} links were found: is the search right?");
}

#[test]
fn links_are_found_and_those_elsewhere_left_alone() {
    let text = "[a](docs/a.md) [b](b.md#part) [c](https://example.org/c) [d](#here)\n```\n[e](e.md)\n```\n`[f](f.md)`";
    assert_eq!(links(text), ["docs/a.md", "b.md"]);
}

/// The workspace's packages by name.
fn packages() -> BTreeMap<String, Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo's metadata are JSON");
    let packages = metadata["packages"].as_array().expect("packages").iter();
    let packages: BTreeMap<_, _> =
        packages.map(|package| (text(&package["name"]).to_owned(), package.clone())).collect();
    assert!(packages.contains_key("postern-smtp"), "the metadata do not show the workspace");
    packages
}

/// What ships with a package: its normal and build dependencies.
fn dependencies(package: &Value) -> impl Iterator<Item = String> {
    dependencies_of(package, |kind| kind != Some("dev"))
}

/// A package's dependencies of some kinds.
fn dependencies_of(package: &Value, is_wanted: fn(Option<&str>) -> bool) -> impl Iterator<Item = String> {
    let all = package["dependencies"].as_array().expect("dependencies").iter();
    all.filter(move |dependency| is_wanted(dependency["kind"].as_str()))
        .map(|dependency| text(&dependency["name"]).to_owned())
}

fn is_foreign(name: &str) -> bool {
    !name.starts_with("postern-")
}

/// The crates that the first cells of a page's tables name; and those of them that come by way of others alone.
fn first_cells(page: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut named, mut indirect) = (BTreeSet::new(), BTreeSet::new());
    for cell in page.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next()) {
        // What stands in brackets is about the crate.
        let names =
            cell.split('(').next().unwrap_or_default().split('`').skip(1).step_by(2).map(str::to_owned);
        let names: Vec<String> = names.collect();
        if cell.contains("by way of") {
            indirect.extend(names.iter().cloned());
        }
        named.extend(names);
    }
    (named, indirect)
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}

fn folder_of(package: &Value) -> PathBuf {
    Path::new(text(&package["manifest_path"])).parent().expect("a manifest lies in a folder").to_owned()
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn files_below(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for path in entries.map(|entry| entry.expect("an entry").path()) {
        if path.is_dir() {
            found.extend(files_below(&path, extension));
        } else if path.extension().is_some_and(|own| own == extension) {
            found.push(path);
        }
    }
    found
}

/// A key's value in a section of a Cargo.toml, as written.
fn setting(manifest: &str, section: &str, key: &str) -> Option<String> {
    let header = format!("[{section}]");
    let lines = manifest.lines().skip_while(|line| line.trim() != header).skip(1);
    lines
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split_once('='))
        .find(|(name, _)| name.trim() == key)
        .map(|(_, value)| value.trim().to_owned())
}

/// The files that a page links to, without what stands in code.
fn links(markdown: &str) -> Vec<String> {
    // Every other piece between fences, and within it between backticks, is code.
    let prose = markdown.split("```").step_by(2).flat_map(|piece| piece.split('`').step_by(2));
    let pieces = prose.flat_map(|text| text.split("](").skip(1));
    pieces
        .filter_map(|rest| rest.split_once(')'))
        .filter_map(|(target, _)| target.split('#').next())
        .filter(|target| !target.is_empty() && !target.contains(':'))
        .map(str::to_owned)
        .collect()
}
