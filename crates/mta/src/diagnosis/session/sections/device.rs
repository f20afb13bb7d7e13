//! Printers, scanners and old applications, and their rules.

use crate::diagnosis::session::{Gravity, Program, Section};

pub(crate) const DEVICE_UNKNOWN: Section = Section {
    title: "The device is not known",
    meaning: "The listener is for devices, and the client's address is not one of a [[device]]. The device got a new address, or somebody else uses the port.",
    user: "{host} does not know your device by its address. Tell your administrator which device it is.",
    remedy: "Add the address to `addresses` of the [[device]], and have the network give the device always the same one. `postern device list` shows when each was last seen.",
    programs: &[(Program::Printer, "Give it a fixed address, or a reservation in DHCP.")],
    symptoms: &[],
    gravity: Gravity::Program,
};

pub(crate) const DEVICE_SENDER: Section = Section {
    title: "The device sends as another address than its own",
    meaning: "The [[device]] names the one address that it sends as, and in MAIL, From: or Sender: stands another: mostly that of the person who scans.",
    user: "The device must send as its own address. Ask your administrator to set it, or to have it replaced.",
    remedy: "Set the sender in the device, or `rewrite_sender = true` in its [[device]], which replaces it.",
    programs: &[(
        Program::Printer,
        "In the web page set the sender (\"From\", \"Device e-mail address\") to the address of the [[device]], and turn off that users may change it.",
    )],
    symptoms: &[],
    gravity: Gravity::Person,
};

pub(crate) const DEVICE_RECIPIENT: Section = Section {
    title: "The device may not send there",
    meaning: "The [[device]] may send to some domains only, and the recipient is in another.",
    user: "The device may not send to that address. Send it to your own address, and forward it from there.",
    remedy: "Add the domain to `recipient_domains` of the [[device]] if it should.",
    programs: &[],
    symptoms: &[],
    gravity: Gravity::Person,
};

pub(crate) const DEVICE_TOO_FAST: Section = Section {
    title: "The device sends too fast",
    meaning: "The device has sent as many messages as its [[device]] allows in so much time.",
    user: "The device has sent very many messages. Wait a few minutes and try again.",
    remedy: "`rate` in the [[device]] is the bound. If nobody scans that much, look who uses the device's address.",
    programs: &[],
    symptoms: &[],
    gravity: Gravity::Person,
};
