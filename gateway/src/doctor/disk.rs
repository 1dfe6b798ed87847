//! `DATA_DIR`: whether it can be written, and whether what the spool may hold has room there.

use std::path::{Path, PathBuf};

use rustix::fs::{Access, access, statvfs};
use shared::settings::{Values, bytes};

use super::finding::Finding;
use crate::deployment::Deployment;
use crate::output::size;

const CHECK: &str = "disk";

/// Less is as good as none.
const LEAST: u64 = 64 * 1024 * 1024;

pub fn examine(values: &Values, deployment: &Deployment) -> Vec<Finding> {
    let folder = PathBuf::from(values.text("DATA_DIR").unwrap_or_default());
    let Ok(most) = bytes(values, "SPOOL_MAX_BYTES") else { return Vec::new() };
    let shown = folder.display();
    // One that is not there yet is made in the next above it that is.
    let Some(there) = ancestor(&folder) else { return Vec::new() };
    if let Err(error) = access(&there, Access::WRITE_OK) {
        let what = format!("{shown} can't be written: {error}");
        return vec![Finding::wrong(
            CHECK,
            what,
            "give it to the user that the ingress runs as, or set DATA_DIR",
        )];
    }
    let left = match statvfs(&there) {
        Ok(disk) => disk.f_bavail.saturating_mul(disk.f_frsize),
        Err(error) => {
            return vec![Finding::wrong(CHECK, format!("{shown}: {error}"), "see that its disk is mounted")];
        }
    };
    let what = format!("{} left for {shown}", size(left));
    let spool = std::fs::metadata(folder.join(shared::spool::FILE.name)).map_or(0, |file| file.len());
    // The file can be twice what it holds.
    let wanted = most.saturating_mul(2).saturating_sub(spool);
    vec![if left < LEAST {
        Finding::wrong(CHECK, what, "make room: without it nothing can be kept while the broker is away")
    } else if deployment.rabbitmq && left < wanted {
        let advice = format!(
            "the spool may grow by {} (twice SPOOL_MAX_BYTES, {}): lower that or give it a larger disk",
            size(wanted),
            size(most)
        );
        Finding::worth(CHECK, what, advice)
    } else {
        Finding::well(CHECK, what)
    }]
}

fn ancestor(folder: &Path) -> Option<PathBuf> {
    let whole = std::path::absolute(folder).ok()?;
    whole.ancestors().find(|folder| folder.is_dir()).map(Path::to_path_buf)
}
