//! Lists in the form that a kind serves.

use std::sync::Arc;

use sampan_api::kind::KindRef;

use super::Registry;
use super::attempt::room_key;
use crate::cache::{Filter, List, ListOptions, Object, Refused, Room, Token};

/// The most objects that are read, and converted, at once to fill a page of which few are selected.
const MAX_READ: usize = 1000;

impl Registry {
    /// The selected objects, in the form that `kind` serves.
    pub(crate) async fn list(&self, kind: &KindRef, filter: &Filter, options: &ListOptions) -> Result<List, Refused> {
        let room = self.cache.room(kind)?;
        if filter.asks_form_of(kind) {
            return self.list_by_form(kind, &room, filter, options).await;
        }
        let mut list = self.cache.list(&room, filter, options).await?;
        list.objects = self.all_served(kind, list.objects).await?;
        Ok(list)
    }

    /// The same where the form decides what is selected: converted first, and as much until the page is full.
    async fn list_by_form(
        &self,
        kind: &KindRef,
        room: &Room,
        filter: &Filter,
        options: &ListOptions,
    ) -> Result<List, Refused> {
        let (place, limit) = (filter.place(), options.limit.unwrap_or(usize::MAX));
        let mut size = limit;
        let mut found: Vec<Arc<Object>> = Vec::new();
        let mut list = self.cache.list(room, &place, options).await?;
        loop {
            let served = self.all_served(kind, std::mem::take(&mut list.objects)).await?;
            found.extend(served.into_iter().filter(|object| filter.matches(object)));
            if found.len() > limit {
                found.truncate(limit);
                let key = found.last().map(|last| room_key(kind, &last.namespace, &last.name));
                list.continues = key.map(|key| Token::new(list.revision, &key));
            }
            let Some(token) = list.continues.as_ref().filter(|_| found.len() < limit) else { break };
            size = size.saturating_mul(2).min(MAX_READ.max(limit));
            list = match self.cache.list(room, &place, &ListOptions::behind(token, size)).await {
                // Forgotten meanwhile. What there is is a page, whoever asks for the next is told.
                Err(Refused::Expired(..)) if !found.is_empty() => break,
                next => next?,
            };
        }
        Ok(List { objects: found, remaining: None, ..list })
    }
}
