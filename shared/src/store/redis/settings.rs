//! Where Redis is, read from the settings: one server, the sentinels that know the master, or a cluster. Opens
//! no connection.

use redis::{ConnectionInfo, IntoConnectionInfo as _, TlsCertificates};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use crate::settings::{SettingError, Values, whole};

const EXPECTED: &str = "redis://[user:password@]host:port[/db], redis+sentinel://[user:password@]host:port,host:port/\
                        service[/db] or redis+cluster://[user:password@]host:port,host:port; with rediss in place of \
                        redis for TLS";

/// Where sentinels listen by custom.
const SENTINEL_PORT: u16 = 26_379;

/// Where Redis is, and who we are to it.
#[derive(Clone)]
pub struct Settings {
    pub(super) place: Place,
    /// None: the system's authorities, and no certificate of our own.
    pub(super) certificates: Option<TlsCertificates>,
}

#[derive(Clone)]
pub(super) enum Place {
    One(ConnectionInfo),
    /// Each by its address, and none with a database, which a sentinel does not have.
    Sentinels(Sentinels),
    /// Some of the nodes: they tell the others.
    Cluster(Vec<ConnectionInfo>),
}

#[derive(Clone)]
pub(super) struct Sentinels {
    pub at: Vec<ConnectionInfo>,
    /// The name by which they know the master.
    pub service: String,
    /// Whose settings (user, password, database) are the master's. Its address means nothing.
    pub master: ConnectionInfo,
    /// The sentinels' own user and password.
    pub user: Option<String>,
    pub password: Option<SecretString>,
    pub tls: bool,
}

impl Settings {
    /// `REDIS_URL`, else `REDIS_HOST` and `REDIS_PORT`; with TLS also `REDIS_CA_FILE`, `REDIS_CERT_FILE` and
    /// `REDIS_KEY_FILE`.
    pub fn read(values: &Values) -> Result<Self, SettingError> {
        if values.is_given("REDIS_URL") {
            let (place, tls) = values.parse("REDIS_URL", EXPECTED, place)?;
            return Ok(Self { place, certificates: certificates(values, tls)? });
        }
        let port = whole(values, "REDIS_PORT", 1..=65535)? as u16;
        let expected = "a host's name or address";
        let one = values.parse("REDIS_HOST", expected, |host| (host, port).into_connection_info().ok())?;
        Ok(Self { place: Place::One(one), certificates: certificates(values, false)? })
    }
}

/// The place that an address names, and whether it is reached by TLS.
fn place(address: &str) -> Option<(Place, bool)> {
    let (scheme, rest) = address.split_once("://")?;
    let (scheme, kind) = match scheme.split_once(['+', '-']) {
        Some((scheme @ ("redis" | "rediss"), kind @ ("sentinel" | "cluster"))) => (scheme, kind),
        _ => return one(address),
    };
    let tls = scheme == "rediss";
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let (user, hosts) = authority.rsplit_once('@').map_or(("", authority), |(user, hosts)| (user, hosts));
    let at = if user.is_empty() { "" } else { "@" };
    let urls: Option<Vec<Url>> =
        hosts.split(',').map(|host| Url::parse(&format!("{scheme}://{user}{at}{host}{path}")).ok()).collect();
    let urls = urls?;
    let place = if kind == "cluster" { cluster(&urls)? } else { Place::Sentinels(sentinels(&urls, tls)?) };
    Some((place, tls))
}

fn one(address: &str) -> Option<(Place, bool)> {
    let one = address.into_connection_info().ok()?;
    let tls = matches!(one.addr(), redis::ConnectionAddr::TcpTls { insecure: false, .. });
    // `#insecure` asks for TLS that proves nothing, and is not built in.
    let insecure = matches!(one.addr(), redis::ConnectionAddr::TcpTls { insecure: true, .. });
    (!insecure).then_some((Place::One(one), tls))
}

/// A cluster has one database only.
fn cluster(urls: &[Url]) -> Option<Place> {
    let plain = |url: &Url| matches!(url.path(), "" | "/" | "/0") && url.fragment().is_none();
    let node = |url: &Url| plain(url).then(|| url.clone().into_connection_info().ok()).flatten();
    Some(Place::Cluster(urls.iter().map(node).collect::<Option<_>>()?))
}

fn sentinels(urls: &[Url], tls: bool) -> Option<Sentinels> {
    let first = urls.first().filter(|url| url.fragment().is_none())?;
    let mut path = first.path().trim_matches('/').split('/');
    let (service, db) = (decoded(path.next().filter(|service| !service.is_empty())?)?, path.next());
    if path.next().is_some() {
        return None;
    }
    let mut master = first.clone();
    master.set_path(db.unwrap_or_default());
    let master = master.into_connection_info().ok()?;
    let asked =
        |name: &str| first.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    let at = urls.iter().map(|url| {
        let mut url = url.clone();
        url.set_path("");
        let port = url.port().unwrap_or(SENTINEL_PORT);
        url.set_port(Some(port)).ok()?;
        url.into_connection_info().ok()
    });
    Some(Sentinels {
        at: at.collect::<Option<_>>()?,
        service,
        master,
        user: asked("sentinelUsername"),
        password: asked("sentinelPassword").map(SecretString::from),
        tls,
    })
}

fn decoded(text: &str) -> Option<String> {
    // As a query's value would be, but that a plus is a plus.
    let query = format!("it={}", text.replace('+', "%2B"));
    let (_, value) = url::form_urlencoded::parse(query.as_bytes()).next()?;
    Some(value.into_owned())
}

impl Sentinels {
    pub fn password(&self) -> Option<&str> {
        self.password.as_ref().map(|password| password.expose_secret())
    }
}

/// The files are read now, so that a wrong one stops the start.
fn certificates(values: &Values, tls: bool) -> Result<Option<TlsCertificates>, SettingError> {
    let files = ["REDIS_CA_FILE", "REDIS_CERT_FILE", "REDIS_KEY_FILE"];
    if let (Some(name), false) = (files.iter().find(|name| values.is_given(name)), tls) {
        return Err(values.error(name, "left out, unless REDIS_URL begins with rediss"));
    }
    let file = |name| values.optional(name, "the name of a readable file", |name| std::fs::read(name).ok());
    let [root_cert, client_cert, client_key] = [file(files[0])?, file(files[1])?, file(files[2])?];
    let client_tls = match (client_cert, client_key) {
        (Some(client_cert), Some(client_key)) => Some(redis::ClientTlsConfig { client_cert, client_key }),
        (None, None) => None,
        (Some(_), None) => return Err(values.error(files[2], "set, beside REDIS_CERT_FILE")),
        (None, Some(_)) => return Err(values.error(files[1], "set, beside REDIS_KEY_FILE")),
    };
    check(values, files[0], &TlsCertificates { client_tls: None, root_cert: root_cert.clone() })?;
    check(values, files[1], &TlsCertificates { client_tls: client_tls.clone(), root_cert: None })?;
    let any = root_cert.is_some() || client_tls.is_some();
    Ok(any.then_some(TlsCertificates { client_tls, root_cert }))
}

/// A file without a certificate would be a list of no authorities, which trusts nobody.
fn check(values: &Values, name: &str, them: &TlsCertificates) -> Result<(), SettingError> {
    let empty = |pem: &[u8]| !pem.windows(BEGIN.len()).any(|it| it == BEGIN);
    let certificate = them.root_cert.as_ref().or(them.client_tls.as_ref().map(|own| &own.client_cert));
    let works = redis::Client::build_with_tls("rediss://localhost", them.clone()).is_ok();
    match certificate {
        Some(pem) if empty(pem) || !works => {
            Err(values.error(name, "a file of certificates in PEM, and the key's too"))
        }
        _ => Ok(()),
    }
}

const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<Settings, String> {
        let values = Values::of([("REDIS_URL", url.to_owned())]);
        Settings::read(&values).map_err(|error| error.to_string())
    }

    fn told(url: &str) -> String {
        let show = |at: &ConnectionInfo| {
            let settings = at.redis_settings();
            let tls = matches!(at.addr(), redis::ConnectionAddr::TcpTls { .. });
            let user = settings.username().unwrap_or("-");
            let password = settings.password().unwrap_or("-");
            format!("{} {user} {password} {} {}", at.addr(), settings.db(), if tls { "tls" } else { "plain" })
        };
        match read(url).unwrap_or_else(|error| panic!("{error}")).place {
            Place::One(one) => show(&one),
            Place::Cluster(nodes) => nodes.iter().map(show).collect::<Vec<_>>().join("; "),
            Place::Sentinels(them) => {
                let at: Vec<_> = them.at.iter().map(|at| at.addr().to_string()).collect();
                let (user, password) = (them.user.as_deref().unwrap_or("-"), them.password().unwrap_or("-"));
                let master = show(&them.master);
                let master = master.split_once(' ').unwrap().1;
                format!("{} at {} as {user} {password}: {master}", them.service, at.join(","))
            }
        }
    }

    #[test]
    fn each_kind_of_address_is_read() {
        assert_eq!(told("redis://h"), "h:6379 - - 0 plain");
        assert_eq!(told("rediss://:p%40w@h:1/2"), "h:1 - p@w 2 tls");
        assert_eq!(
            told("redis+cluster://u:pw@a:1,b:2,[::1]:3"),
            "a:1 u pw 0 plain; b:2 u pw 0 plain; ::1:3 u pw 0 plain"
        );
        assert_eq!(told("rediss+cluster://a,b/0"), "a:6379 - - 0 tls; b:6379 - - 0 tls");
        assert_eq!(told("redis+sentinel://a,b:7/main"), "main at a:26379,b:7 as - -: - - 0 plain");
        assert_eq!(
            told("rediss+sentinel://u:p,w@[::1]/my%20master/3?sentinelUsername=s&sentinelPassword=a%26b"),
            "my master at ::1:26379 as s a&b: u p,w 3 tls"
        );
        assert_eq!(told("redis-sentinel://a/main"), told("redis+sentinel://a/main"));
        assert_eq!(told("rediss-cluster://a"), told("rediss+cluster://a"));
    }

    #[test]
    fn an_address_that_is_none_is_told_without_its_passwords() {
        let bad = [
            "ftp://u:hunter2@h:1",
            "redis://",
            "redis://:hunter2@h:port",
            "redis://h/database",
            "rediss://:hunter2@h/#insecure",
            "redis+sentinel://:hunter2@h",
            "redis+sentinel://h/main/zero",
            "redis+sentinel://h/main/0/1",
            "redis+sentinel://h,/main",
            "redis+sentinel://h:x/main?sentinelPassword=hunter2",
            "redis+cluster://h/1",
            "redis+cluster://:hunter2@a,b:x",
            "redis+other://h",
            "http+cluster://h",
        ];
        for url in bad {
            let error = read(url).map(drop).expect_err(url);
            assert!(error.starts_with("REDIS_URL is "), "{error}");
            assert!(error.contains("must be redis://") && !error.contains('\n'), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn files_for_tls_are_read_at_the_start() {
        let read = |url: &str, given: &[(&'static str, &str)]| {
            let given = given.iter().map(|(name, value)| (*name, (*value).to_owned()));
            let values = Values::of([("REDIS_URL", url.to_owned())].into_iter().chain(given));
            Settings::read(&values).map(drop).map_err(|error| error.to_string())
        };
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        assert_eq!(read("rediss://h", &[]), Ok(()));
        type Given<'a> = &'a [(&'static str, &'a str)];
        let bad: [(&str, Given<'_>, &str); 5] = [
            ("redis://h", &[("REDIS_CA_FILE", manifest)], "REDIS_CA_FILE is "),
            ("rediss://h", &[("REDIS_CA_FILE", "/nowhere")], "REDIS_CA_FILE is \"/nowhere\""),
            ("rediss://h", &[("REDIS_CA_FILE", manifest)], "REDIS_CA_FILE is "),
            ("rediss://h", &[("REDIS_CERT_FILE", manifest)], "REDIS_KEY_FILE must be set"),
            (
                "rediss://h",
                &[("REDIS_CERT_FILE", manifest), ("REDIS_KEY_FILE", manifest)],
                "REDIS_CERT_FILE is ",
            ),
        ];
        for (url, given, told) in bad {
            let error = read(url, given).expect_err(told);
            assert!(error.starts_with(told), "{error}");
        }
    }
}
