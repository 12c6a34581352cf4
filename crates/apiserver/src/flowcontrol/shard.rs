//! Shuffle sharding: every flow is dealt a small hand of a level's queues, so that a flow that fills its queues leaves
//! almost every other flow with at least one queue that it has not reached.

use std::hash::{BuildHasher, Hasher, RandomState};

/// No hand is larger: validation bounds the bits of a hash that dealing may use up.
pub(super) const MAX_HAND: usize = 16;

/// What a flow's hand is dealt from. Each server draws a secret of its own, so that nobody can make up flows that meet.
pub(super) fn flow_hash(secret: &RandomState, schema: &str, distinguisher: &str) -> u64 {
    let mut hasher = secret.build_hasher();
    hasher.write(schema.as_bytes());
    hasher.write_u8(0);
    hasher.write(distinguisher.as_bytes());
    hasher.finish()
}

/// A hand of different queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hand {
    cards: [u32; MAX_HAND],
    len: usize,
}

impl Hand {
    /// Deals `size` of the cards `0..deck`: the digits of `hash` in the bases `deck`, `deck - 1`, ... each choose one of
    /// the cards that are left.
    pub(super) fn deal(mut hash: u64, deck: u32, size: u32) -> Self {
        let len = (size.min(deck) as usize).clamp(1, MAX_HAND);
        let mut taken = [u32::MAX; MAX_HAND];
        let mut cards = [0; MAX_HAND];
        for (dealt, slot) in cards.iter_mut().enumerate().take(len) {
            let left = u64::from(deck).saturating_sub(dealt as u64).max(1);
            let mut card = u32::try_from(hash % left).unwrap_or_default();
            hash /= left;
            // `taken` is ascending: each card before this one shifts it by one.
            let mut place = 0;
            while place < dealt && taken[place] <= card {
                card += 1;
                place += 1;
            }
            taken.copy_within(place..dealt, place + 1);
            taken[place] = card;
            *slot = card;
        }
        Self { cards, len }
    }

    /// The cards, beginning with the one at `offset`: who comes later begins elsewhere.
    pub(super) fn starting_at(&self, offset: usize) -> impl Iterator<Item = u32> {
        (0..self.len).map(move |at| self.cards[(offset + at) % self.len])
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn cards(hash: u64, deck: u32, size: u32) -> Vec<u32> {
        Hand::deal(hash, deck, size).starting_at(0).collect()
    }

    #[test]
    fn hands_are_digits_of_the_hash() {
        assert_eq!(cards(0, 8, 3), [0, 1, 2]);
        assert_eq!(cards(7, 8, 3), [7, 0, 1]);
        assert_eq!(cards(7 + 8 * 6 + 8 * 7 * 5, 8, 3), [7, 6, 5]);
        assert_eq!(cards(3 + 8 * 3 + 8 * 7 * 3, 8, 3), [3, 4, 5]);
        assert_eq!(cards(u64::MAX, 1, 1), [0]);
    }

    #[test]
    fn no_card_twice_and_all_equally_often() {
        let secret = RandomState::new();
        let mut dealt = [0u32; 64];
        for flow in 0..6400 {
            let hand = cards(flow_hash(&secret, "schema", &flow.to_string()), 64, 6);
            assert_eq!(hand.iter().collect::<BTreeSet<_>>().len(), 6, "{hand:?}");
            hand.iter().for_each(|card| dealt[*card as usize] += 1);
        }
        // 600 each on average; the standard deviation is about 23.
        assert!(dealt.iter().all(|count| (430..770).contains(count)), "{dealt:?}");
    }

    #[test]
    fn schemas_are_told_apart_from_distinguishers() {
        let secret = RandomState::new();
        assert_ne!(flow_hash(&secret, "a", "bc"), flow_hash(&secret, "ab", "c"));
    }
}
