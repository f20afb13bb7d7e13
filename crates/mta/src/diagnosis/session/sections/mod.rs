//! The texts: one [`Section`](super::Section) for each cause, and the steps in programs that several share.
//!
//! Every text is ours, in words that the person or the administrator can act on; names of menus are as the programs show them
//! in English. What stands in braces is filled in by [`Words`](super::Words).

pub(super) mod beginning;
pub(super) mod certificate;
pub(super) mod device;
pub(super) mod limits;
pub(super) mod message;
pub(super) mod network;
pub(super) mod ours;
pub(super) mod protocol;
pub(super) mod sender;
pub(super) mod signing_in;
mod steps;
