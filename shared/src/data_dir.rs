//! `DATA_DIR`: opens a file in it, and says what is wrong where that can't be.

use std::path::Path;

use crate::database::{Database, Kind, OpenError, Tables};
use crate::program::Failure;
use crate::settings::{Problems, SettingError, Values};

/// Opens this process's file of that kind. One folder serves one process: a second one is refused.
pub fn open<T: Tables>(values: &Values, kind: Kind) -> Result<Database<T>, Failure> {
    let folder = values.required("DATA_DIR", "a folder").map_err(Problems::from)?.to_owned();
    Database::open(Path::new(&folder), kind).map_err(|error| match error {
        OpenError::InUse(_) => Failure::Refused(format!(
            "DATA_DIR {folder:?} is in use by another process: one folder serves one process, give this one its own"
        )),
        other => Failure::Settings(Problems::from(SettingError {
            name: "DATA_DIR".to_owned(),
            value: Some(folder.clone()),
            expected: format!("a folder that can be written ({other})"),
        })),
    })
}
