//! `[sessions]`: what is kept of sessions that have ended, for how long, and how much of it.

use crate::config::model::{KeptSessions, Transcripts};
use crate::config::reader::{Reader, Section};

pub(super) fn kept<'a>(reader: &mut Reader<'a>, top: &Section<'a>) -> Option<KeptSessions> {
    let at = &reader.section(top, "sessions");
    let words = [("troubled", Transcripts::Troubled), ("all", Transcripts::All), ("off", Transcripts::Off)];
    let transcripts = reader.choice(at, "transcripts", None, &words);
    let keep = reader.duration(at, "keep");
    let most = reader.count(at, "most");
    let space = reader.size(at, "space");
    if transcripts == Some(Transcripts::Off) {
        let what =
            "nobody finds out why somebody cannot send: `postern session` and `postern trouble` stay empty";
        reader.warn(at, "transcripts", what, "write \"troubled\" unless a rule forbids it");
    }
    Some(KeptSessions { transcripts: transcripts?, keep: keep?, most: most?, space: space? })
}
