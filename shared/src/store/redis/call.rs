//! A script to be called over keys with one hash tag, as Redis Cluster wants it.

use redis::aio::ConnectionLike;
use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, Script, ServerErrorKind, ToRedisArgs, Value};

/// A call has room for so many arguments beside its keys, and so many bytes of them, before it has to grow: an update's
/// beginning has 11 of them, with some 120 bytes; a plan is longer.
const ARGUMENTS: usize = 12;
const ROOM: usize = 256;

/// One call of a script: its keys, then its arguments.
pub(super) struct Call<'a> {
    source: &'a str,
    command: Cmd,
    /// The first key, which says where in a cluster the call goes.
    pub key: &'a str,
}

/// A script's text, and the digest by which a server that has seen it knows it.
pub(super) struct Known {
    source: String,
    digest: String,
}

impl Known {
    pub fn new(source: impl Into<String>) -> Self {
        let source = source.into();
        let digest = Script::new(&source).get_hash().to_owned();
        Self { source, digest }
    }

    /// The keys have one hash tag.
    pub fn over<'a>(&'a self, keys: &'a [String]) -> Call<'a> {
        let room = ROOM + keys.iter().map(String::len).sum::<usize>();
        let mut command = Cmd::with_capacity(ARGUMENTS + keys.len(), room);
        command.arg("EVALSHA").arg(&self.digest).arg(keys.len()).arg(keys);
        Call { source: &self.source, command, key: keys.first().map_or("", String::as_str) }
    }
}

impl Call<'_> {
    pub fn arg(&mut self, argument: impl ToRedisArgs) -> &mut Self {
        self.command.arg(argument);
        self
    }

    /// A server that does not know the script yet is sent its text. (The library would load it into all servers of
    /// a cluster first, and fail if one of them is away.)
    pub async fn make<T: FromRedisValue>(
        &self,
        connection: &mut impl ConnectionLike,
    ) -> Result<T, RedisError> {
        let value = match connection.req_packed_command(&self.command).await {
            Ok(Value::ServerError(error)) => Err(error.into()),
            other => other,
        };
        match value {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.with_text().query_async(connection).await
            }
            value => Ok(T::from_redis_value(value?)?),
        }
    }

    fn with_text(&self) -> Cmd {
        let mut command = redis::cmd("EVAL");
        command.arg(self.source);
        for argument in self.command.args_iter().skip(2) {
            if let redis::Arg::Simple(bytes) = argument {
                command.arg(bytes);
            }
        }
        command
    }
}
