//! Which file a message holds. Read only where somebody asks, which is for the parts of an album.

use shared::json::Json;

use super::Incoming;

impl Incoming {
    /// The `file_id` of what the message holds, of a photo that of its largest size.
    pub fn file_id(&self) -> Option<String> {
        let update = std::str::from_utf8(&self.raw).ok().and_then(|text| Json::parse(text).ok())?;
        let held = update.get(&self.kind)?.get(self.content.name())?;
        // Telegram lists a photo's sizes from the smallest to the largest.
        let file = held.array().and_then(|sizes| sizes.last().copied()).unwrap_or(held);
        Some(file.get("file_id")?.string()?.into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_photos_largest_size_and_anything_elses_one_file() {
        let of = |content: &str| {
            Incoming::read(
                format!(r#"{{"update_id":1,"message":{{"chat":{{"id":1}},{content}}}}}"#).as_bytes(),
            )
            .file_id()
        };
        let photo = r#""photo":[{"file_id":"small","width":90},{"file_id":"large","width":800}]"#;
        assert_eq!(of(photo).as_deref(), Some("large"));
        assert_eq!(of(r#""video":{"file_id":"v","duration":3}"#).as_deref(), Some("v"));
        for none in [r#""photo":[]"#, r#""photo":7"#, r#""text":"file_id""#, r#""video":{"file_id":5}"#] {
            assert_eq!(of(none), None, "{none}");
        }
    }
}
