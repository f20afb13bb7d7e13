//! Printers, scanners and old applications, as an administrator sees them: `postern device list`.

pub use crate::device::log::DeviceView;
pub(super) use crate::device::log::list_alone;
