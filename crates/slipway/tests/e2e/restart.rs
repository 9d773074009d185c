//! A server that restarts on a socket that outlives it.

use crate::{BINARY, up};
use slipway_testing::load::{Kind, Load};
use slipway_testing::{App, TestServer, wait};
use std::time::Duration;

const BOUND: Duration = Duration::from_secs(30);

#[test]
fn no_connection_is_refused_while_the_server_restarts_on_a_socket_that_is_handed_over() {
    let mut server = TestServer::start(BINARY);
    server.stop_process();
    server.hold_edge_socket();
    server.start_process();
    let app = App::node("held", "v1");
    up(&server, app.path());
    let load = Load::start(server.edge_port(), "web-held.localhost", &[Kind::Close, Kind::Close, Kind::Close]);
    for _ in 0..3 {
        let answered = load.answered();
        wait::until("requests before the restart", BOUND, || (load.answered() > answered + 20).then_some(()));
        server.stop_process();
        server.start_process();
    }
    let answered = load.answered();
    wait::until("requests after the last one", BOUND, || (load.answered() > answered + 20).then_some(()));
    let tally = load.stop();
    assert_eq!(tally.lost, Vec::<String>::new(), "{} were answered\n{}", tally.answered, server.log());
    // A deployment goes on as ever on such a socket.
    app.set_version("v2");
    up(&server, app.path());
    assert_eq!(server.get("web-held.localhost", "/").body, "v2\n");
}
