//! Writes messages into Maildirs: whole or not at all, and synced before the outcome says delivered.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use jiff::Timestamp;
use postern_queue::{Batch, Body, QueueId, RecipientId};
use postern_smtp::address::{Mailbox, split_detail};
use postern_smtp::envelope::BodyType;
use postern_smtp::outcome::{Outcome, Reason, Step, Trouble};
use tokio::sync::mpsc;

use crate::config::{Template, TemplateValues};

/// How the content's lines end in the file: as every Maildir reader on this system expects them, unless the content
/// is binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LineEnd {
    Lf,
    AsIs,
}

/// Delivers a batch's message into the mailbox of each recipient.
pub(super) async fn deliver(
    template: &Template,
    batch: &Batch,
    plus: Option<char>,
    body: &mut Body,
) -> Vec<(RecipientId, Outcome, PathBuf)> {
    let mut outcomes = Vec::with_capacity(batch.recipients.len());
    for (id, recipient) in &batch.recipients {
        body.rewind();
        let folder = folder_of(template, &recipient.address, plus);
        let head = head_of(batch, &recipient.address);
        let line_end =
            if batch.message.body == Some(BodyType::BinaryMime) { LineEnd::AsIs } else { LineEnd::Lf };
        let outcome = match write(folder.clone(), batch.id, head, line_end, body).await {
            Ok(()) => Outcome::Delivered(None),
            Err(error) => {
                let reason = Reason::Local(format!("{}: {error}", folder.display()));
                Outcome::Deferred(Trouble::new(Step::Mailbox, reason))
            }
        };
        outcomes.push((*id, outcome, folder));
    }
    outcomes
}

fn folder_of(template: &Template, address: &Mailbox, plus: Option<char>) -> PathBuf {
    let local = address.local.value();
    let (base, detail) = split_detail(&local, plus);
    let domain = address.host.key();
    template.fill(&TemplateValues { local: base, domain: &domain, detail: detail.unwrap_or_default() })
}

/// The final delivery records the reverse-path (RFC 5321 §4.4) and which of our addresses it was for.
fn head_of(batch: &Batch, address: &Mailbox) -> Vec<u8> {
    format!("Return-Path: {}\nDelivered-To: {address}\n", batch.message.from).into_bytes()
}

async fn write(
    folder: PathBuf,
    id: QueueId,
    head: Vec<u8>,
    line_end: LineEnd,
    body: &mut Body,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let (pieces, incoming) = mpsc::channel(4);
    let writer = tokio::task::spawn_blocking(move || write_file(&folder, id, &head, line_end, incoming));
    let fed = feed(body, pieces).await;
    let written = writer.await?;
    fed?;
    Ok(written?)
}

/// Sends the body's pieces and, only when it was complete, the word that it was.
async fn feed(body: &mut Body, pieces: mpsc::Sender<Option<Bytes>>) -> Result<(), postern_queue::Error> {
    while let Some(piece) = body.next().await? {
        if pieces.send(Some(piece)).await.is_err() {
            return Ok(());
        }
    }
    let _ = pieces.send(None).await;
    Ok(())
}

fn write_file(
    folder: &Path,
    id: QueueId,
    head: &[u8],
    line_end: LineEnd,
    mut pieces: mpsc::Receiver<Option<Bytes>>,
) -> io::Result<()> {
    for name in ["tmp", "new", "cur"] {
        make_folder(&folder.join(name))?;
    }
    let name = unique_name(id);
    let (tmp, new) = (folder.join("tmp").join(&name), folder.join("new").join(&name));
    let written = fill(&tmp, head, line_end, &mut pieces).and_then(|()| fs::rename(&tmp, &new));
    if let Err(error) = written {
        let _ = fs::remove_file(&tmp);
        return Err(error);
    }
    File::open(folder.join("new"))?.sync_all()
}

/// Makes a folder with all that leads to it, each synced in the one that holds it: after a power loss a new mailbox is
/// still there.
fn make_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().unwrap_or(Path::new("/"));
    make_folder(parent)?;
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made?,
    }
    File::open(parent)?.sync_all()
}

fn fill(
    path: &Path,
    head: &[u8],
    line_end: LineEnd,
    pieces: &mut mpsc::Receiver<Option<Bytes>>,
) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let mut file = BufWriter::with_capacity(64 * 1024, file);
    file.write_all(head)?;
    let mut lines = Lines { line_end, held_cr: false };
    loop {
        match pieces.blocking_recv() {
            Some(Some(piece)) => lines.write(&mut file, &piece)?,
            Some(None) => break,
            None => {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the message could not be read to its end",
                ));
            }
        }
    }
    lines.finish(&mut file)?;
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}

/// Turns CRLF into LF, also where a piece ends between the two.
struct Lines {
    line_end: LineEnd,
    held_cr: bool,
}

impl Lines {
    fn write(&mut self, out: &mut impl Write, piece: &[u8]) -> io::Result<()> {
        if self.line_end == LineEnd::AsIs {
            return out.write_all(piece);
        }
        if self.held_cr && !piece.is_empty() {
            self.held_cr = false;
            if piece[0] != b'\n' {
                out.write_all(b"\r")?;
            }
        }
        let mut rest = piece;
        while let Some(at) = memchr::memmem::find(rest, b"\r\n") {
            out.write_all(&rest[..at])?;
            out.write_all(b"\n")?;
            rest = &rest[at + 2..];
        }
        self.held_cr = rest.ends_with(b"\r");
        out.write_all(&rest[..rest.len() - usize::from(self.held_cr)])
    }

    fn finish(&mut self, out: &mut impl Write) -> io::Result<()> {
        if self.held_cr { out.write_all(b"\r") } else { Ok(()) }
    }
}

/// A name that no other delivery uses: time, process, a random number, and the queue id for people. `create_new` is
/// what makes sure of it.
fn unique_name(id: QueueId) -> String {
    let now = Timestamp::now();
    let (process, random) = (std::process::id(), fastrand::u64(..));
    format!("{}.M{}P{process}R{random:016x}.{id}", now.as_second(), now.subsec_microsecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(pieces: &[&[u8]]) -> Vec<u8> {
        let (mut lines, mut out) = (Lines { line_end: LineEnd::Lf, held_cr: false }, Vec::new());
        for piece in pieces {
            lines.write(&mut out, piece).unwrap();
        }
        lines.finish(&mut out).unwrap();
        out
    }

    #[test]
    fn line_ends_are_turned_wherever_the_pieces_part() {
        assert_eq!(converted(&[b"a\r\nb\r\n"]), b"a\nb\n");
        assert_eq!(converted(&[b"a\r", b"\nb\r", b"\n"]), b"a\nb\n");
        assert_eq!(converted(&[b"a\r", b"b"]), b"a\rb");
        assert_eq!(converted(&[b"a\r"]), b"a\r");
    }
}
