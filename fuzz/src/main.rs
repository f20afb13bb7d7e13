//! `cargo run --no-default-features` fills `corpus` with seeds: see [`postern_fuzz::seeds`].

fn main() -> std::io::Result<()> {
    postern_fuzz::seeds::write_corpus(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus"))
}
