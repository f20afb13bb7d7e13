//! What is our own fault.

use crate::diagnosis::session::{Gravity, Section};

pub(crate) const NO_USABLE_CERTIFICATE: Section = Section {
    title: "The server has no usable certificate",
    meaning: "The client wanted to begin TLS, and no certificate with its key is loaded. Nobody can sign in or send until that is mended.",
    user: "{host} cannot encrypt at the moment, so it takes no mail. Your settings are right; tell your administrator.",
    remedy: "`postern cert list` and `postern cert check` say what is wrong: a file is missing or cannot be read, or key and certificate do not belong together. `postern reload` reads them again.",
    programs: &[],
    symptoms: &["454 TLS not available"],
    gravity: Gravity::Person,
};

pub(crate) const LOCAL_ERROR: Section = Section {
    title: "Something went wrong in the server",
    meaning: "The server could not do its own part; its log says what. Nothing that was acknowledged is lost.",
    user: "Something is wrong with {host}. Your settings are right; try again in a few minutes.",
    remedy: "Look at the alarms in the log of that time.",
    programs: &[],
    symptoms: &[],
    gravity: Gravity::Person,
};

pub(crate) const STORAGE_FULL: Section = Section {
    title: "The disk is full",
    meaning: "The message could not be stored, so it was not taken. The service resumes by itself when there is space.",
    user: "{host} has no space at the moment. Your settings are right; try again later.",
    remedy: "Make space in `data_dir`; `postern queue list` shows what waits there. If there is space, the disk cannot be written: look at the log.",
    programs: &[],
    symptoms: &[],
    gravity: Gravity::Person,
};

pub(crate) const SERVER_BUSY: Section = Section {
    title: "All sessions are taken",
    meaning: "More sessions are open than the server is set up for. A flood, or too low a bound.",
    user: "{host} is too busy at the moment. Try again in a few minutes.",
    remedy: "`sessions` in [limits] is the bound, and [listener.limits] has one of each listener, so that a flood of port 25 does not shut people out. `postern session follow` shows who comes.",
    programs: &[],
    symptoms: &[],
    gravity: Gravity::Person,
};

pub(crate) const SHUTTING_DOWN: Section = Section {
    title: "The server was shutting down",
    meaning: "The server stopped or restarted in the middle of the session. Nothing that was acknowledged is lost.",
    user: "{host} was being restarted. Send the message again.",
    remedy: "Nothing is to be done, if it was meant.",
    programs: &[],
    symptoms: &[],
    gravity: Gravity::Noise,
};
