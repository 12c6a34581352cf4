//! `sampan image`: bringing images in from registries and files, and listing what is there.

use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};
use sampan_cri::v1::image_service_client::ImageServiceClient;
use sampan_cri::v1::{ImageSpec, ListImagesRequest, RemoveImageRequest};
use sampan_runtime::archive::image_archive_client::ImageArchiveClient;
use sampan_runtime::archive::pull_progress::Phase;
use sampan_runtime::archive::{ImportRequest, PullRequest, RootfsConfig};
use tonic::transport::Channel;

use crate::config::{Config, Flags};

/// A password longer than this is a file that was piped by mistake.
const MAX_PASSWORD_BYTES: u64 = 64 << 10;

#[derive(Debug, clap::Args)]
pub(super) struct Image {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Pull an image from its registry, whether it is here or not
    Pull(Pull),
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
struct Pull {
    /// Its name, such as registry.example/team/app:1.2
    name: String,
    /// Who pulls; the password is read from standard input
    #[arg(long, value_name = "USER")]
    username: Option<String>,
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
    #[arg(long, requires = "rootfs", value_name = "WORD", allow_hyphen_values = true)]
    entrypoint: Vec<String>,
    /// Its default arguments, a word each time it is given
    #[arg(long, requires = "rootfs", value_name = "WORD", allow_hyphen_values = true)]
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
                Action::Pull(pull) => pull.run(channel).await,
                Action::Import(import) => import.run(&config, channel).await,
                Action::List => list(channel).await,
                Action::Remove { images } => remove(channel, images).await,
            }
        })
    }
}

impl Pull {
    async fn run(self, channel: Channel) -> Result<()> {
        let password = if self.username.is_some() { password()? } else { String::new() };
        let request = PullRequest { name: self.name, username: self.username.unwrap_or_default(), password };
        let mut told = ImageArchiveClient::new(channel).pull(request).await.map_err(words)?.into_inner();
        // Drawn on standard error, where that is a terminal.
        let bar = ProgressBar::new(0);
        bar.set_style(
            ProgressStyle::with_template("  {msg:<12} {bar:30} {bytes}/{total_bytes}")
                .unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        while let Some(progress) = told.message().await.map_err(words)? {
            bar.set_message(match progress.phase() {
                Phase::Resolving => "resolving",
                Phase::Downloading => "downloading",
                Phase::Unpacking | Phase::Done => "unpacking",
            });
            bar.set_length(progress.layers.iter().map(|layer| layer.size_bytes).sum());
            bar.set_position(progress.layers.iter().map(|layer| layer.received_bytes).sum());
            if let Some(image) = progress.image {
                bar.finish_and_clear();
                println!("pulled {} ({})", image.names.join(", "), mebibytes(image.size_bytes));
            }
        }
        Ok(())
    }
}

/// The first line of standard input.
fn password() -> Result<String> {
    let input = std::io::stdin().lock();
    if input.is_terminal() {
        bail!("pipe the password into this command, so that it stays out of the shell's history");
    }
    let mut line = String::new();
    std::io::BufRead::read_line(&mut input.take(MAX_PASSWORD_BYTES), &mut line).context("reading the password")?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
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
