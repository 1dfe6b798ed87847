//! The settings of traces, in OpenTelemetry's spelling, checked; nothing is opened here.

use std::collections::HashMap;

use opentelemetry_sdk::trace::Sampler;
use percent_encoding::percent_decode_str;
use reqwest::header::{HeaderName, HeaderValue};

use crate::settings::{Problems, Values, http_url};

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";
const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const RATIO: &str = "OTEL_TRACES_SAMPLER_ARG";

/// Where spans go.
pub(super) struct Target {
    pub url: String,
    /// A secret: they hold the collector's key.
    pub headers: HashMap<String, String>,
}

/// What traces need to know.
pub struct Settings {
    /// None: there are no traces.
    pub(super) target: Option<Target>,
    pub(super) service_name: String,
    pub(super) sampler: Sampler,
}

impl Settings {
    /// `program` is the name that the spans bear unless `OTEL_SERVICE_NAME` says another.
    pub fn read(values: &Values, program: &str) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let url = problems.take(values.optional(ENDPOINT, "an http or https address", |text| {
            // OTLP over HTTP has a path for each signal, below the collector's own.
            http_url(text).map(|_| format!("{}/v1/traces", text.trim_end_matches('/')))
        }));
        let headers = problems.take(values.optional(HEADERS, "name=value,name=value", headers));
        let sampler = problems.take_all(sampler(values));
        let (Some(url), Some(headers), Some(sampler)) = (url, headers, sampler) else {
            return Err(problems);
        };
        let target = url.map(|url| Target { url, headers: headers.unwrap_or_default() });
        let service_name = values.text("OTEL_SERVICE_NAME").unwrap_or(program).to_owned();
        Ok(Self { target, service_name, sampler })
    }
}

/// Which traces are kept. One that has begun elsewhere keeps what was decided there, by default.
fn sampler(values: &Values) -> Result<Sampler, Problems> {
    let mut problems = Problems::default();
    let ratio = problems.take(values.parse(RATIO, "a share of the traces, a number from 0 to 1", |text| {
        text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio))
    }));
    let expected = "always_on, always_off, traceidratio, parentbased_always_on, parentbased_always_off or \
                    parentbased_traceidratio";
    let sampler = problems.take(values.parse(SAMPLER, expected, |text| {
        let root = match text.strip_prefix("parentbased_").unwrap_or(text) {
            "always_on" => Sampler::AlwaysOn,
            "always_off" => Sampler::AlwaysOff,
            "traceidratio" => Sampler::TraceIdRatioBased(ratio.unwrap_or(1.0)),
            _ => return None,
        };
        Some(if text.starts_with("parentbased_") { Sampler::ParentBased(Box::new(root)) } else { root })
    }));
    sampler.filter(|_| problems.is_empty()).ok_or(problems)
}

/// `name=value,name=value`, the values percent-encoded.
fn headers(text: &str) -> Option<HashMap<String, String>> {
    let header = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        let (name, value) = (name.trim(), percent_decode_str(value.trim()).decode_utf8().ok()?);
        let known = HeaderName::try_from(name).is_ok() && HeaderValue::try_from(&*value).is_ok();
        known.then(|| (name.to_owned(), value.into_owned()))
    };
    text.split(',').map(str::trim).filter(|pair| !pair.is_empty()).map(header).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&'static str, &str)]) -> Result<Settings, String> {
        let values = Values::of(pairs.iter().map(|(name, value)| (*name, (*value).to_owned())));
        Settings::read(&values, "tgw").map_err(|problems| problems.to_string())
    }

    #[test]
    fn traces_are_off_without_an_address_and_have_a_path_with_one() {
        assert!(read(&[]).unwrap().target.is_none());
        for address in ["http://collector:4318", "http://collector:4318/"] {
            let target = read(&[(ENDPOINT, address)]).unwrap().target.unwrap();
            assert_eq!(target.url, "http://collector:4318/v1/traces");
        }
        let below = read(&[(ENDPOINT, "https://x.example/otlp")]).unwrap().target.unwrap();
        assert_eq!(below.url, "https://x.example/otlp/v1/traces");
    }

    #[test]
    fn headers_are_decoded_and_never_told() {
        let headers = headers("authorization=Basic%20YTpi, x-key=a=b,").unwrap();
        assert_eq!((&*headers["authorization"], &*headers["x-key"]), ("Basic YTpi", "a=b"));
        for wrong in ["hunter2", "a b=hunter2", "x=hunter2%0a"] {
            let told = read(&[(HEADERS, wrong)]).err().unwrap();
            assert!(told.starts_with(HEADERS) && !told.contains("hunter2"), "{told}");
        }
    }

    #[test]
    fn samplers_have_the_names_that_opentelemetry_gives_them() {
        let of = |name| format!("{:?}", read(&[(SAMPLER, name), (RATIO, "0.25")]).unwrap().sampler);
        assert_eq!(of("always_off"), "AlwaysOff");
        assert_eq!(of("parentbased_traceidratio"), "ParentBased(TraceIdRatioBased(0.25))");
        assert_eq!(format!("{:?}", read(&[]).unwrap().sampler), "ParentBased(AlwaysOn)");
        for (name, value) in
            [(SAMPLER, "sometimes"), (RATIO, "2"), (RATIO, "x"), (ENDPOINT, "collector:4318")]
        {
            let told = read(&[(name, value)]).err().unwrap();
            assert!(told.contains(name) && told.contains(value), "{told}");
        }
    }
}
