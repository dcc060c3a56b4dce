//! Two sorted maps, walked together: one step per key, where a lookup per key would search from the root each time.

use std::cmp::Ordering;
use std::collections::BTreeMap;

/// Where a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held<L, R> {
    /// In the left map only.
    Left(L),
    /// In the right map only.
    Right(R),
    /// In both.
    Both(L, R),
}

/// All keys of both maps, in their order.
pub(super) fn side_by_side<'a, K: Ord, L, R>(
    left: &'a BTreeMap<K, L>,
    right: &'a BTreeMap<K, R>,
) -> impl Iterator<Item = (&'a K, Held<&'a L, &'a R>)> {
    let (mut left, mut right) = (left.iter().peekable(), right.iter().peekable());
    std::iter::from_fn(move || {
        let order = match (left.peek(), right.peek()) {
            (Some((left, _)), Some((right, _))) => left.cmp(right),
            (Some(_), None) => Ordering::Less,
            (None, _) => Ordering::Greater,
        };
        match order {
            Ordering::Less => left.next().map(|(key, value)| (key, Held::Left(value))),
            Ordering::Greater => right.next().map(|(key, value)| (key, Held::Right(value))),
            Ordering::Equal => {
                left.next().zip(right.next()).map(|((key, l), (_, r))| (key, Held::Both(l, r)))
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_comes_once_and_in_order() {
        let left = BTreeMap::from([(1, 'a'), (3, 'b'), (4, 'c')]);
        let right = BTreeMap::from([(2, 'x'), (3, 'y'), (5, 'z')]);
        let walked: Vec<_> = side_by_side(&left, &right).collect();
        assert_eq!(
            walked,
            [
                (&1, Held::Left(&'a')),
                (&2, Held::Right(&'x')),
                (&3, Held::Both(&'b', &'y')),
                (&4, Held::Left(&'c')),
                (&5, Held::Right(&'z')),
            ]
        );
    }
}
