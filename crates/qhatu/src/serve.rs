//! `qhatu serve`: answers over HTTP until SIGTERM.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use qhatu_serve::{Engine, Parts, RegistrySource, ServeConfig, asked_to_end, serve};

use crate::fault::Fault;
use crate::propensity::ChampionSource;
use crate::shop::{Shop, say};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shop project.
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// The port; 0 takes a free one. Over that of qhatu.toml.
    #[arg(long)]
    port: Option<u16>,
    /// The address; others than loopback need a key. Over that of qhatu.toml.
    #[arg(long)]
    address: Option<IpAddr>,
}

pub(crate) fn run(args: &Args) -> Result<(), Fault> {
    let shop = Shop::open(&args.dir)?;
    let mut config = shop.project.config.serve.clone();
    config.port = args.port.unwrap_or(config.port);
    config.address = args.address.unwrap_or(config.address);
    run_server(&shop, &args.dir, config, |address| say(format!("listening on http://{address}/")))
}

/// Serves the shop until the process is asked to end; `ready` hears where. Files of the configuration lie in the project's
/// folder.
pub(crate) fn run_server(
    shop: &Shop,
    dir: &Path,
    mut config: ServeConfig,
    ready: impl FnOnce(SocketAddr),
) -> Result<(), Fault> {
    config.key_file = config.key_file.map(|file| dir.join(file));
    config.text_model = config.text_model.map(|folder| dir.join(folder));
    let declarations = shop.declarations()?;
    let source = RegistrySource::new(shop.registry(), shop.project.config.registry.model.as_str());
    let parts = Parts {
        log: shop.log.clone(),
        documents: shop.documents.clone(),
        declarations,
        models: Box::new(source),
        propensity: Some(Box::new(ChampionSource::new(shop.registry(), config.text_model.clone()))),
    };
    let engine = Engine::open_from_snapshot(parts, config.clone(), &shop.paths.state_dir())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|fault| Fault::Said(format!("cannot start the server's threads: {fault}")))?;
    let shutdown = async {
        // Where signals cannot be heard, the server runs until it is killed.
        if asked_to_end().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    runtime.block_on(serve(engine, config, shutdown, ready))?;
    Ok(())
}
