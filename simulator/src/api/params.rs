//! A call's parameters, from the query string, a form of either kind or a JSON body. Telegram takes numbers and objects
//! as text too, so each is read by what the method expects, not by how it was written.

use std::collections::HashMap;
use std::convert::Infallible;

use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpRequest, web};
use bytes::Bytes;
use futures_util::stream;
use multer::Multipart;
use serde_json::{Map, Value, json};

#[derive(Default)]
pub(crate) struct Params {
    fields: Map<String, Value>,
    files: HashMap<String, Upload>,
}

/// A file that came with the call. What was in it is not kept.
#[derive(Clone)]
pub(crate) struct Upload {
    pub name: String,
    pub size: usize,
}

impl Params {
    /// What cannot be read counts as not given; the method then says what it misses, as Telegram's does.
    pub async fn read(request: &HttpRequest, body: Bytes) -> Self {
        let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
        let is_json = kind.starts_with("application/json");
        let is_form = kind.starts_with("application/x-www-form-urlencoded");
        let mut params = match multer::parse_boundary(kind) {
            Ok(boundary) => Self::of_parts(boundary, body).await,
            Err(_) => Self::of_body(is_json, is_form, &body),
        };
        for (name, value) in pairs(request.query_string()) {
            params.fields.entry(name).or_insert(value);
        }
        params
    }

    pub fn of_body(is_json: bool, is_form: bool, body: &[u8]) -> Self {
        let fields = match () {
            () if is_json => serde_json::from_slice(body).unwrap_or_default(),
            () if is_form => pairs(&String::from_utf8_lossy(body)),
            () => Map::new(),
        };
        Self::of(fields)
    }

    pub fn of(fields: Map<String, Value>) -> Self {
        Self { fields, files: HashMap::new() }
    }

    /// A form whose parts may be files (multipart/form-data), up to where it can be read.
    async fn of_parts(boundary: String, body: Bytes) -> Self {
        let mut params = Self::default();
        let mut parts = Multipart::new(stream::iter([Ok::<_, Infallible>(body)]), boundary);
        while let Ok(Some(part)) = parts.next_field().await {
            let name = part.name().unwrap_or_default().to_owned();
            let file = part.file_name().map(str::to_owned);
            let Ok(content) = part.bytes().await else { break };
            let Some(file) = file else {
                params.fields.insert(name, String::from_utf8_lossy(&content).into());
                continue;
            };
            let upload = Upload { name: file, size: content.len() };
            // Seen in the journal; a method asks for the upload.
            params.fields.insert(name.clone(), json!({"file_name": upload.name, "file_size": upload.size}));
            params.files.insert(name, upload);
        }
        params
    }

    /// The same uploads with other parameters: those of one of several parts of a call.
    pub fn with(&self, fields: Map<String, Value>) -> Self {
        let files = self.files.iter().map(|(name, file)| (name.clone(), file.clone())).collect();
        Self { fields, files }
    }

    pub fn upload(&self, name: &str) -> Option<&Upload> {
        self.files.get(name)
    }

    pub fn fields(&self) -> &Map<String, Value> {
        &self.fields
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.fields.get(name).filter(|value| !value.is_null())
    }

    pub fn text(&self, name: &str) -> Option<String> {
        match self.get(name)? {
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    }

    pub fn integer(&self, name: &str) -> Option<i64> {
        match self.get(name)? {
            Value::Number(number) => number.as_i64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// Not given: the usual value. What is no number counts as 0; what is outside is moved inside.
    pub fn clamped(&self, name: &str, usual: usize, least: usize, most: usize) -> usize {
        let given = self.text(name).filter(|text| !text.is_empty());
        let value = given.map(|_| usize::try_from(self.integer(name).unwrap_or(0)).unwrap_or(0));
        value.unwrap_or(usual).clamp(least, most)
    }

    pub fn number(&self, name: &str) -> Option<f64> {
        match self.get(name)? {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    pub fn flag(&self, name: &str) -> bool {
        match self.get(name) {
            Some(Value::Bool(flag)) => *flag,
            Some(Value::String(text)) => ["true", "yes", "1"].contains(&text.to_ascii_lowercase().as_str()),
            Some(Value::Number(number)) => number.as_i64() == Some(1),
            _ => false,
        }
    }

    /// An object or array, which may have been sent as text. `Err`: it is no JSON.
    pub fn json(&self, name: &str) -> Result<Option<Value>, ()> {
        match self.get(name) {
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) => serde_json::from_str(text).map(Some).map_err(drop),
            other => Ok(other.cloned()),
        }
    }
}

fn pairs(encoded: &str) -> Map<String, Value> {
    let pairs = web::Query::<Vec<(String, String)>>::from_query(encoded);
    let pairs = pairs.map(web::Query::into_inner).unwrap_or_default();
    pairs.into_iter().map(|(name, value)| (name, Value::String(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;
    use serde_json::json;

    #[actix_web::test]
    async fn forms_a_query_and_json_say_the_same() {
        let form = TestRequest::post().insert_header((CONTENT_TYPE, "application/x-www-form-urlencoded"));
        let form = Params::read(
            &form.to_http_request(),
            Bytes::from_static(b"chat_id=7&text=a+b&reply_markup=%7B%22x%22%3A1%7D"),
        )
        .await;
        let query = TestRequest::get().uri("/?chat_id=7&text=a%20b&reply_markup=%7B%22x%22%3A1%7D");
        let query = Params::read(&query.to_http_request(), Bytes::new()).await;
        let body = TestRequest::post().insert_header((CONTENT_TYPE, "application/json"));
        let body = Params::read(
            &body.to_http_request(),
            Bytes::from_static(br#"{"chat_id":7,"text":"a b","reply_markup":{"x":1},"y":null}"#),
        )
        .await;
        let parts = parts(&[("chat_id", "7"), ("text", "a b"), ("reply_markup", r#"{"x":1}"#)]).await;
        for params in [form, query, body, parts] {
            assert_eq!(params.integer("chat_id"), Some(7));
            assert_eq!(params.text("text").as_deref(), Some("a b"));
            assert_eq!(params.json("reply_markup"), Ok(Some(json!({"x": 1}))));
            assert_eq!(params.text("y"), None);
        }
    }

    async fn read_parts(body: String) -> Params {
        let request = TestRequest::post().insert_header((CONTENT_TYPE, "multipart/form-data; boundary=x"));
        Params::read(&request.to_http_request(), body.into()).await
    }

    async fn parts(fields: &[(&str, &str)]) -> Params {
        let part = |(name, value): &(&str, &str)| {
            format!("--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        read_parts(fields.iter().map(part).collect::<String>() + "--x--\r\n").await
    }

    #[actix_web::test]
    async fn a_file_comes_beside_the_fields_and_a_form_that_breaks_off_is_read_so_far() {
        let text = "--x\r\nContent-Disposition: form-data; name=\"caption\"\r\n\r\nc\r\n";
        let file = "--x\r\nContent-Disposition: form-data; name=\"photo\"; filename=\"a.png\"\r\n\
            Content-Type: image/png\r\n\r\n12345\r\n--x--\r\n";
        let params = read_parts(format!("{text}{file}")).await;
        let upload = params.upload("photo").unwrap();
        assert_eq!((upload.name.as_str(), upload.size), ("a.png", 5));
        assert_eq!(params.text("caption").as_deref(), Some("c"));
        let broken = read_parts(format!("{text}{}", &file[..90])).await;
        assert_eq!(broken.text("caption").as_deref(), Some("c"));
        assert!(broken.upload("photo").is_none());
    }
}
