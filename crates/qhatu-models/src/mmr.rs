//! MMR, maximal marginal relevance: a list whose items fit and are not all alike. (Carbonell & Goldstein, SIGIR 1998.)
//!
//! Items are taken one by one: next comes the one with the highest `λ · relevance − (1 − λ) · max similarity` to those
//! already taken. Relevance is the score scaled to 0 … 1 over the candidates, so that it is measured like similarity,
//! which is 0 … 1; `λ = 1 − diversity`.

/// Places in `scores` of the `k` items to show, in the order in which they are taken. With `diversity` 0 the order is
/// that of the scores; 1 looks at similarity alone after the first. Ties go to the higher score, then to the earlier
/// place. `O(k × candidates)` similarities.
pub fn mmr(scores: &[f32], k: usize, diversity: f32, similarity: impl Fn(usize, usize) -> f32) -> Vec<usize> {
    let relevance = scaled(scores);
    let mut left: Vec<usize> = (0..scores.len()).collect();
    left.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(a.cmp(&b)));
    // The similarity of each candidate to the most similar one taken.
    let mut nearest = vec![0.0_f32; scores.len()];
    let mut taken = Vec::with_capacity(k.min(scores.len()));
    while taken.len() < k && !left.is_empty() {
        let worth = |place: usize| (1.0 - diversity) * relevance[place] - diversity * nearest[place];
        let mut best = 0;
        for (at, &place) in left.iter().enumerate() {
            if worth(place) > worth(left[best]) {
                best = at;
            }
        }
        let next = left.remove(best);
        taken.push(next);
        left.iter().for_each(|&place| nearest[place] = nearest[place].max(similarity(place, next)));
    }
    taken
}

fn scaled(scores: &[f32]) -> Vec<f32> {
    let low = scores.iter().copied().fold(f32::INFINITY, f32::min);
    let width = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max) - low;
    scores.iter().map(|score| if width > 0.0 { (score - low) / width } else { 0.0 }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Places of equal remainder are alike.
    fn alike(a: usize, b: usize) -> f32 {
        f32::from(u8::from(a % 3 == b % 3))
    }

    #[test]
    fn without_diversity_the_scores_decide_and_with_it_kinds_take_turns() {
        let scores = [9.0, 8.0, 3.0, 7.0, 2.0, 1.0];
        assert_eq!(mmr(&scores, 4, 0.0, alike), [0, 1, 3, 2]);
        assert_eq!(mmr(&scores, 3, 1.0, alike), [0, 1, 2]);
        // By hand: after 0 and 1, place 3 is worth .75 / 2 − .5, place 2 is worth .25 / 2.
        assert_eq!(mmr(&scores, 4, 0.5, alike), [0, 1, 2, 3]);
        assert_eq!(mmr(&[], 3, 0.5, alike), [0; 0]);
    }

    proptest! {
        #[test]
        fn a_list_is_as_long_as_it_can_be_and_holds_each_once(
            scores in prop::collection::vec(-2.0f32..2.0, 0..20), k in 0..30_usize, diversity in 0.0f32..=1.0,
        ) {
            let mut list = mmr(&scores, k, diversity, alike);
            prop_assert_eq!(list.len(), k.min(scores.len()));
            if let Some(&first) = list.first() {
                prop_assert!(diversity == 1.0 || scores.iter().all(|score| *score <= scores[first]));
            }
            list.sort_unstable();
            list.dedup();
            prop_assert_eq!(list.len(), k.min(scores.len()));
        }

        #[test]
        fn without_diversity_it_is_a_sort(scores in prop::collection::vec(-2.0f32..2.0, 0..20)) {
            let list = mmr(&scores, 20, 0.0, alike);
            prop_assert!(list.windows(2).all(|pair| scores[pair[0]] >= scores[pair[1]]));
        }
    }
}
