//! Silence, and broken connections.

use crate::diagnosis::session::{Gravity, Section};

pub(crate) const PORT_SCAN: Section = Section {
    title: "Somebody looked whether the port is open",
    meaning: "The client connected and left without a word, or after a fragment of TLS. Port scanners and monitors do so all day.",
    user: "Nothing was sent. If your mail program says that it cannot send, check its settings for the outgoing server {host}: port {starttls_port} with STARTTLS, or port {tls_port} with SSL/TLS.",
    remedy: "Nothing is to be done.",
    programs: &[],
    symptoms: &[],
    gravity: Gravity::Noise,
};

pub(crate) const SILENT_CLIENT: Section = Section {
    title: "The client said nothing until its time was over",
    meaning: "The client got the greeting and never said a word. Either the greeting did not reach it (a firewall, a virus scanner, a broken tunnel), or it waits for something else, or it wants to hold the connection.",
    user: "Your mail program connected to {host} and then said nothing. Turn a virus scanner's check of outgoing mail off, and try another network.",
    remedy: "From one network only: look at the firewall there; `postern check-server {host}` run there says what arrives. From many unknown addresses it is noise.",
    programs: &[],
    symptoms: &["Connection timed out"],
    gravity: Gravity::Program,
};

pub(crate) const STOPPED_MIDWAY: Section = Section {
    title: "The client stopped in the middle",
    meaning: "The client began as it should, and then nothing came until its time was over, or it went away. It crashed, it waits for its user, or the network swallows what it sends.",
    user: "Your mail program stopped in the middle of sending. Try again; if it stops at the same place, try another network, and a message without attachments.",
    remedy: "The explanation says where it stopped. In the middle of content: packets of full size may be dropped on the way (MTU), or a firewall does not like the content. The bounds are `command_timeout` and `content_timeout` in [limits].",
    programs: &[],
    symptoms: &["The connection timed out while sending"],
    gravity: Gravity::Program,
};

pub(crate) const LOST_IN_CONTENT: Section = Section {
    title: "The connection broke in the middle of the message",
    meaning: "The connection ended before the message did. Nothing of it was taken, so nothing is lost here: the program still has it. A network that changed (Wi-Fi to mobile), a computer that slept, a virus scanner or a firewall that did not like the content.",
    user: "The connection broke while your message was on its way, so it was not sent. Send it again; if it breaks every time, try another network or smaller attachments.",
    remedy: "One message that breaks always at the same place, in one network only: something there looks at the content, or drops packets of full size (MTU).",
    programs: &[],
    symptoms: &[
        "Connection reset by peer",
        "The connection to the server was lost while sending",
        "0x800CCC0F",
        "0x8004210B",
    ],
    gravity: Gravity::Person,
};

pub(crate) const CONNECTION_LOST: Section = Section {
    title: "The network broke the connection",
    meaning: "The connection was reset or went silent before the client was done.",
    user: "The connection to {host} broke. Try again; if it breaks every time, try another network.",
    remedy: "From one network only: look at the firewall there.",
    programs: &[],
    symptoms: &["Connection reset by peer", "0x800CCC0F"],
    gravity: Gravity::Program,
};
