//! `gateway`: the store's gateway on its own, for who starts the parts by hand.

use std::io::Write as _;
use std::sync::Arc;

use miette::{Context as _, IntoDiagnostic as _};

use crate::cli::{GatewayArguments, Output};
use crate::command::console::Console;
use crate::command::run::stop_on_signal;
use crate::testbed::gateway::Gateway;
use crate::testbed::gateway::backend::Backend as _;
use crate::testbed::gateway::fake_gcs::FakeGcs;

pub(crate) fn main(arguments: &GatewayArguments) -> miette::Result<u8> {
    let runtime = tokio::runtime::Runtime::new().into_diagnostic()?;
    runtime.block_on(async {
        let emulator = FakeGcs::new(&arguments.emulator).into_diagnostic()?;
        if let Some(bucket) = &arguments.bucket {
            emulator.create_bucket(bucket).await.into_diagnostic().wrap_err_with(|| {
                format!("{}: the bucket {bucket} cannot be made", arguments.emulator)
            })?;
        }
        let gateway = Gateway::start_on(Arc::new(emulator), arguments.port)
            .await
            .into_diagnostic()
            .wrap_err(format!(
                "port {} of the loopback: choose another with --port",
                arguments.port
            ))?;
        let mut out = std::io::stdout();
        for (name, value) in gateway.access().client_environment {
            writeln!(out, "export {name}={value}").into_diagnostic()?;
        }
        out.flush().into_diagnostic()?;
        stop_on_signal(&Console::plain(Output::default())).cancelled().await;
        gateway.close().await;
        Ok(0)
    })
}
