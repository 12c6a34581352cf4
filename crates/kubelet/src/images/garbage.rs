//! Images that nobody uses any more: which of them go when the disk fills up.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use sampan_cri::v1::{Container, Image};
use tokio::time::Instant;

use super::Images;
use crate::Error;
use crate::seen::Instance;

/// A younger image stays: it was pulled for a container that is about to be made.
const LEAST_AGE: Duration = Duration::from_secs(120);

/// When images were last used, as far as anybody looked, and when they were first seen; by id.
#[derive(Debug, Default)]
pub(super) struct Uses(HashMap<String, Use>);

#[derive(Clone, Copy, Debug)]
struct Use {
    first_seen: Instant,
    last_used: Instant,
}

impl Uses {
    /// A container is about to use the image.
    pub(super) fn note(&mut self, id: &str, now: Instant) {
        self.0.entry(id.to_owned()).or_insert(Use { first_seen: now, last_used: now }).last_used = now;
    }

    /// Images in the order in which they may go: those used longest ago first; none that is pinned, young, or has one of
    /// the names that are `used`.
    fn order<'i>(&mut self, images: &'i [Image], used: &HashSet<String>, now: Instant) -> Vec<&'i Image> {
        self.0.retain(|id, _| images.iter().any(|image| image.id == *id));
        for image in images {
            self.0.entry(image.id.clone()).or_insert(Use { first_seen: now, last_used: now });
            if is_used(image, used) {
                self.note(&image.id, now);
            }
        }
        let of = |image: &Image| self.0.get(&image.id).copied();
        let old = |image: &&Image| of(image).is_some_and(|known| now.duration_since(known.first_seen) >= LEAST_AGE);
        let free = |image: &&Image| !image.pinned && !is_used(image, used);
        let mut all: Vec<&Image> = images.iter().filter(free).filter(old).collect();
        all.sort_by_key(|image| of(image).map(|known| (known.last_used, known.first_seen)));
        all
    }
}

fn is_used(image: &Image, used: &HashSet<String>) -> bool {
    std::iter::once(&image.id).chain(&image.repo_tags).chain(&image.repo_digests).any(|name| used.contains(name))
}

/// The names of the images that a container is made of: its own and those that are its volumes. `seen` is the same
/// container, unless it has gone meanwhile.
fn names(listed: &Container, seen: Option<Instance>) -> impl Iterator<Item = String> {
    let named = listed.image.as_ref().map(|image| image.image.clone()).unwrap_or_default();
    let own = [named, listed.image_ref.clone(), listed.image_id.clone()];
    let volumes = seen.map(|seen| seen.image_volumes).unwrap_or_default();
    own.into_iter().chain(volumes).filter(|name| !name.is_empty())
}

impl Images {
    /// Removes images that nobody uses, those used longest ago first, until `wanted_bytes` are free; how many that were.
    pub(crate) async fn remove_unused(&self, wanted_bytes: i64) -> i64 {
        let moment = self.ledger.moment();
        let (images, used) = match tokio::try_join!(self.runtime.images(), self.used()) {
            Ok(both) => both,
            Err(error) => {
                tracing::warn!(%error, "unused images were not looked for");
                return 0;
            }
        };
        let known = images.clone();
        if let Err(error) = self.record(move |ledger| ledger.keep(&known, moment)).await {
            tracing::warn!(%error, "who might use images that are gone is not forgotten");
        }
        let order: Vec<Image> = self.uses.lock().order(&images, &used, Instant::now()).into_iter().cloned().collect();
        let mut freed_bytes = 0_i64;
        for image in order {
            if freed_bytes >= wanted_bytes {
                break;
            }
            match self.runtime.remove_image(&image.id).await {
                Ok(()) => {
                    tracing::info!(image = image.id, names = ?image.repo_tags, bytes = image.size, "removed an unused image");
                    freed_bytes = freed_bytes.saturating_add(i64::try_from(image.size).unwrap_or(i64::MAX));
                }
                Err(error) => tracing::warn!(image = image.id, %error, "an unused image was not removed"),
            }
        }
        if freed_bytes > 0 {
            self.pulled.notify_one();
        }
        freed_bytes
    }

    /// The names of all images that containers use.
    async fn used(&self) -> Result<HashSet<String>, Error> {
        let mut used = HashSet::new();
        for container in self.runtime.containers().await? {
            let seen = self.runtime.instance(&container).await.unwrap_or_else(|error| {
                tracing::warn!(container = container.id, %error, "the images that are its volumes are not known");
                None
            });
            used.extend(names(&container, seen));
        }
        Ok(used)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(id: &str) -> Image {
        Image { id: id.to_owned(), repo_tags: vec![format!("example.test/{id}:1")], ..Image::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn images_go_by_their_last_use() {
        let mut images = vec![image("a"), image("b"), image("c"), image("pinned")];
        images[3].pinned = true;
        let mut uses = Uses::default();
        let mut check = |images: &[Image], used: &[&str], want: &str| {
            let used = used.iter().map(|name| (*name).to_owned()).collect();
            let order = uses.order(images, &used, Instant::now());
            assert_eq!(order.iter().map(|image| image.id.as_str()).collect::<Vec<_>>().join(" "), want);
        };
        check(&images, &[], "");
        tokio::time::advance(LEAST_AGE).await;
        check(&images, &["example.test/a:1"], "b c");
        tokio::time::advance(LEAST_AGE).await;
        check(&images, &["b"], "c a");
        images.push(image("young"));
        check(&images, &[], "c a b");
    }
}
