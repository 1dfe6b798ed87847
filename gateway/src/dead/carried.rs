//! A letter with its bytes as JSON: a line of an export, or on the way between two processes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use shared::queue::Letter;

/// The bytes are base64, since an update need not be what JSON can carry.
#[derive(Debug, Serialize, Deserialize)]
pub struct Carried {
    #[serde(flatten)]
    letter: Letter,
    update_base64: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rest_base64: Option<String>,
}

impl Carried {
    pub fn of(letter: Letter) -> Self {
        let rest_base64 = letter.rest.as_ref().map(|rest| BASE64.encode(rest));
        Self { update_base64: BASE64.encode(&letter.body), rest_base64, letter }
    }

    pub fn letter(self) -> Result<Letter, base64::DecodeError> {
        let body = Bytes::from(BASE64.decode(self.update_base64)?);
        let rest = self.rest_base64.map(|rest| BASE64.decode(rest)).transpose()?.map(Bytes::from);
        Ok(Letter { body, rest, ..self.letter })
    }
}
