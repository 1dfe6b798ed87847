//! actix-web with a handler that does nothing: what taking a request and saying 200 costs at least. A process of
//! its own, as all servers here.

use std::io::Result;

use actix_web::{App, HttpResponse, HttpServer, web};
use clap::{Arg, ArgMatches, Command};

use crate::updates::PATH;

pub fn command() -> Command {
    Command::new("actix").hide(true).arg(Arg::new("address").env("LISTEN_ADDR").required(true))
}

pub fn serve(flags: &ArgMatches) -> Result<()> {
    let address = flags.get_one::<String>("address").expect("it is required");
    let app =
        || App::new().route(PATH, web::post().to(async |_body: web::Bytes| HttpResponse::Ok().finish()));
    actix_web::rt::System::new().block_on(HttpServer::new(app).bind(address.as_str())?.run())
}
