//! A call's parameters, from the query string, a form or a JSON body. Telegram takes numbers and objects
//! as text too, so each is read by what the method expects, not by how it was written.

use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpRequest, web};
use serde_json::{Map, Value};

pub(crate) struct Params(Map<String, Value>);

impl Params {
    /// What cannot be read counts as not given; the method then says what it misses, as Telegram's does.
    pub fn read(request: &HttpRequest, body: &[u8]) -> Self {
        let mut fields = pairs(request.query_string());
        let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
        if kind.starts_with("application/json") {
            fields.extend(serde_json::from_slice::<Map<String, Value>>(body).unwrap_or_default());
        } else if kind.starts_with("application/x-www-form-urlencoded") {
            fields.extend(pairs(&String::from_utf8_lossy(body)));
        }
        Self(fields)
    }

    pub fn fields(&self) -> &Map<String, Value> {
        &self.0
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
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

    #[test]
    fn a_form_a_query_and_json_say_the_same() {
        let form = TestRequest::post().insert_header((CONTENT_TYPE, "application/x-www-form-urlencoded"));
        let form =
            Params::read(&form.to_http_request(), b"chat_id=7&text=a+b&reply_markup=%7B%22x%22%3A1%7D");
        let query = TestRequest::get().uri("/?chat_id=7&text=a%20b&reply_markup=%7B%22x%22%3A1%7D");
        let query = Params::read(&query.to_http_request(), b"");
        let body = TestRequest::post().insert_header((CONTENT_TYPE, "application/json"));
        let body = Params::read(
            &body.to_http_request(),
            br#"{"chat_id":7,"text":"a b","reply_markup":{"x":1},"y":null}"#,
        );
        for params in [form, query, body] {
            assert_eq!(params.integer("chat_id"), Some(7));
            assert_eq!(params.text("text").as_deref(), Some("a b"));
            assert_eq!(params.json("reply_markup"), Ok(Some(json!({"x": 1}))));
            assert_eq!(params.text("y"), None);
        }
    }
}
