//! Objects of custom kinds between the version they are stored in and those they are served in.

use std::borrow::Cow;
use std::sync::Arc;

use sampan_api::custom::{Conversion, Custom};
use sampan_api::kind::KindRef;
use sampan_api::status::Status;
use serde_json::Value;

use super::{Registry, serve};
use crate::cache::{Filter, Object, Step, Told};
use crate::conversion;

impl Registry {
    /// A stored object in the form that `kind` serves.
    pub(crate) async fn served(&self, kind: &KindRef, mut stored: Value) -> Result<Value, Status> {
        let Some(custom) = kind.custom() else { return Ok(serve(kind, stored)) };
        if custom.is_form_of(&stored) {
            custom.refresh(&mut stored);
            return Ok(stored);
        }
        let mut converted = self.convert(custom, vec![stored]).await?;
        converted.pop().ok_or_else(|| Status::internal("the conversion gave nothing"))
    }

    /// The same for many objects. Those that have the form already are passed on as they are.
    pub(crate) async fn all_served(
        &self,
        kind: &KindRef,
        mut objects: Vec<Arc<Object>>,
    ) -> Result<Vec<Arc<Object>>, Status> {
        let Some(custom) = kind.custom() else { return Ok(objects) };
        let is_stored = std::ptr::eq(self.cache.room(kind)?.kind.names(), kind.names());
        let mut others: Vec<usize> = (0..objects.len()).filter(|index| !is_stored || objects[*index].foreign).collect();
        let is_asked = custom.asks_webhook();
        let mut turn = None;
        if is_asked && let Some(first) = self.not_kept(custom, &mut objects, &mut others) {
            turn = self.conversions.turn(custom, &first).await;
            self.not_kept(custom, &mut objects, &mut others);
        }
        if others.is_empty() {
            return Ok(objects);
        }
        let values = others.iter().map(|index| objects[*index].value()).collect();
        for (index, value) in others.into_iter().zip(self.convert(custom, values).await?) {
            objects[index] = Arc::new(objects[index].as_form(kind, &value));
            if is_asked {
                self.conversions.put(custom, &objects[index]);
            }
        }
        drop(turn);
        Ok(objects)
    }

    /// Puts those in that have been converted before, and leaves in `others` which have not. Returns the first of these.
    fn not_kept(&self, to: &Arc<Custom>, objects: &mut [Arc<Object>], others: &mut Vec<usize>) -> Option<Arc<Object>> {
        others.retain(|index| match self.conversions.get(to, &objects[*index]) {
            Some(made) => {
                objects[*index] = made;
                false
            }
            None => true,
        });
        others.first().map(|index| Arc::clone(&objects[*index]))
    }

    /// What a watcher is told at once, in the form that `kind` serves: converted in one review, up to the first that
    /// cannot be converted. With `selected` only that is told which is among these in that form.
    pub(crate) async fn all_told(&self, kind: &KindRef, selected: Option<&Filter>, told: Vec<Told>) -> Vec<Told> {
        let objects: Vec<_> = told.iter().flat_map(|one| asked(one, selected)).collect();
        if told.len() > 1
            && let Ok(served) = self.all_served(kind, objects).await
        {
            let mut served = served.into_iter();
            return told.into_iter().filter_map(|one| in_form(one, selected, &mut served)).collect();
        }
        // What is wrong is told of each by itself.
        let mut seen = Vec::with_capacity(told.len());
        for one in told {
            seen.extend(self.told(kind, selected, one).await);
            if matches!(seen.last(), Some(Told::Failed(_))) {
                break;
            }
        }
        seen
    }

    /// The same for one thing that a watcher is told; nothing if it is not `selected`.
    pub(crate) async fn told(&self, kind: &KindRef, selected: Option<&Filter>, told: Told) -> Option<Told> {
        if told.object().is_none() {
            return Some(told);
        }
        match self.all_served(kind, asked(&told, selected)).await {
            Ok(served) => in_form(told, selected, &mut served.into_iter()),
            Err(status) => Some(Told::Failed(status)),
        }
    }

    /// An object that `kind` serves in the form in which it is stored.
    pub(super) async fn storable<'o>(&self, kind: &KindRef, object: &'o Value) -> Result<Cow<'o, Value>, Status> {
        let Some(custom) = kind.custom() else { return Ok(Cow::Borrowed(object)) };
        let stored = self.cache.room(kind)?.kind.clone();
        let Some(stored) = stored.custom().filter(|stored| !std::ptr::eq(stored.names(), custom.names())) else {
            return Ok(Cow::Borrowed(object));
        };
        let mut converted = self.convert(stored, vec![object.clone()]).await?;
        converted.pop().map(Cow::Owned).ok_or_else(|| Status::internal("the conversion gave nothing"))
    }

    /// Objects of other versions in the form of `to`; those that have it stay as they are.
    async fn convert(&self, to: &Custom, mut objects: Vec<Value>) -> Result<Vec<Value>, Status> {
        let others: Vec<usize> = (0..objects.len()).filter(|index| !to.is_form_of(&objects[*index])).collect();
        match &to.conversion {
            Conversion::Webhook(webhook) if !others.is_empty() => {
                let asked = others.iter().map(|index| objects[*index].take()).collect();
                let converted = conversion::ask(&self.caller, webhook, to.names(), asked).await?;
                others.into_iter().zip(converted).for_each(|(index, object)| objects[index] = object);
            }
            _ => {
                let api_version = to.names().api_version();
                others.into_iter().for_each(|index| objects[index]["apiVersion"] = api_version.as_str().into());
            }
        }
        objects.iter_mut().for_each(|object| to.refresh(object));
        Ok(objects)
    }
}

/// What must be converted to tell it: whether something enters or leaves a selection is seen in what was before, too.
fn asked(told: &Told, selected: Option<&Filter>) -> Vec<Arc<Object>> {
    match selected {
        None => told.object().map(Arc::clone).into_iter().collect(),
        Some(_) => {
            let Step { before, after } = told.step();
            before.into_iter().chain(after).collect()
        }
    }
}

/// What is told with what was [`asked`] for, converted.
fn in_form(told: Told, selected: Option<&Filter>, served: &mut impl Iterator<Item = Arc<Object>>) -> Option<Told> {
    let Step { before, after } = told.step();
    let Told::Event { event, revision, change, .. } = told else { return Some(told) };
    let (event, object) = match selected {
        None => (event, served.next()?),
        Some(filter) => {
            let before = before.and_then(|_| served.next());
            Step { before, after: after.and_then(|_| served.next()) }.seen(filter)?
        }
    };
    let change = change.and_then(|change| change.as_told(event)).filter(|change| change.is_about(&object));
    Some(Told::Event { event, object, revision, change })
}
