//! `sampan image`: bringing images in from files, and listing what is there.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use sampan_cri::v1::image_service_client::ImageServiceClient;
use sampan_cri::v1::{ImageSpec, ListImagesRequest, RemoveImageRequest};
use sampan_runtime::archive::image_archive_client::ImageArchiveClient;
use sampan_runtime::archive::{ImportRequest, RootfsConfig};
use tonic::transport::Channel;

use crate::config::{Config, Flags};

#[derive(Debug, clap::Args)]
pub(super) struct Image {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Import an OCI archive or layout, a `docker save` archive, or with --rootfs a plain root file system
    Import(Import),
    /// List the images
    #[command(visible_alias = "ls")]
    List,
    /// Remove images
    #[command(visible_alias = "rm")]
    Remove {
        /// Names or ids
        #[arg(required = true)]
        images: Vec<String>,
    },
}

#[derive(Debug, clap::Args)]
struct Import {
    /// The archive, or - for standard input
    path: PathBuf,
    /// Name of the image, instead of those the archive carries
    #[arg(long, value_name = "REFERENCE")]
    name: Option<String>,
    /// The archive is a plain tar of a root file system
    #[arg(long, requires = "name")]
    rootfs: bool,
    /// What the image's containers run, a word each time it is given
    #[arg(long, requires = "rootfs", value_name = "WORD")]
    entrypoint: Vec<String>,
    /// Its default arguments, a word each time it is given
    #[arg(long, requires = "rootfs", value_name = "WORD")]
    cmd: Vec<String>,
    /// Environment of its containers, as NAME=VALUE
    #[arg(long, requires = "rootfs", value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Where its containers start
    #[arg(long, requires = "rootfs", value_name = "DIR", default_value = "")]
    workdir: String,
    /// Who its containers run as
    #[arg(long, requires = "rootfs", default_value = "")]
    user: String,
}

impl Image {
    pub(super) fn run(self) -> Result<()> {
        let config = super::which(&self.flags)?;
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
            let channel = sampan_cri::connect(&config.cri_socket())
                .await
                .context("is the cluster running? `sampan status` tells, `sampan up` starts it")?;
            match self.action {
                Action::Import(import) => import.run(&config, channel).await,
                Action::List => list(channel).await,
                Action::Remove { images } => remove(channel, images).await,
            }
        })
    }
}

impl Import {
    async fn run(self, config: &Config, channel: Channel) -> Result<()> {
        let staged = if self.path == Path::new("-") { Some(stage(config)?) } else { None };
        let path = staged.as_ref().map_or(self.path.as_path(), tempfile::NamedTempFile::path);
        let path = path.canonicalize().with_context(|| format!("opening {}", path.display()))?;
        let rootfs = self.rootfs.then_some(RootfsConfig {
            entrypoint: self.entrypoint,
            cmd: self.cmd,
            env: self.env,
            working_dir: self.workdir,
            user: self.user,
        });
        let request = ImportRequest { path: path.display().to_string(), name: self.name.unwrap_or_default(), rootfs };
        let answer = ImageArchiveClient::new(channel).import(request).await.map_err(words)?;
        for image in answer.into_inner().images {
            println!("imported {} ({})", image.names.join(", "), mebibytes(image.size_bytes));
        }
        Ok(())
    }
}

/// Keeps standard input in a file, for the runtime to read.
fn stage(config: &Config) -> Result<tempfile::NamedTempFile> {
    let mut input = std::io::stdin().lock();
    if input.is_terminal() {
        bail!("standard input is a terminal; pipe an archive into this command, or name a file");
    }
    let mut file = tempfile::NamedTempFile::new_in(&config.data_dir).context("keeping the archive")?;
    std::io::copy(&mut input, &mut file).context("keeping the archive")?;
    file.flush().context("keeping the archive")?;
    Ok(file)
}

async fn list(channel: Channel) -> Result<()> {
    let answer = ImageServiceClient::new(channel).list_images(ListImagesRequest::default()).await.map_err(words)?;
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::NOTHING).set_header(["IMAGE", "ID", "SIZE"]);
    for image in answer.into_inner().images {
        let id = image.id.trim_start_matches("sha256:").chars().take(12).collect::<String>();
        for name in image.repo_tags {
            table.add_row([name, id.clone(), mebibytes(image.size)]);
        }
    }
    println!("{table}");
    Ok(())
}

async fn remove(channel: Channel, images: Vec<String>) -> Result<()> {
    let mut client = ImageServiceClient::new(channel);
    for image in images {
        let spec = ImageSpec { image: image.clone(), ..ImageSpec::default() };
        client.remove_image(RemoveImageRequest { image: Some(spec) }).await.map_err(words)?;
        println!("removed {image}");
    }
    Ok(())
}

/// What the runtime said, without gRPC's wrapping.
fn words(status: tonic::Status) -> anyhow::Error {
    anyhow::anyhow!("{}", status.message())
}

fn mebibytes(bytes: u64) -> String {
    format!("{}.{} MiB", bytes >> 20, ((bytes & 0xf_ffff) * 10) >> 20)
}
