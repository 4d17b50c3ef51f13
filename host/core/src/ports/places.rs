//! Chooses the places of claims that a change or a hold takes, in the way of every ledger.

use std::collections::BTreeSet;

use crate::model::{Choice, Claim, HeldClaim};

/// The places that a change or a hold asks for.
#[derive(Clone, Debug)]
pub struct PlaceRequest<'a> {
    /// Claims, of which it gets one place each.
    pub claims: &'a [Claim],
    /// Alternatives, of which it gets one; empty if there is nothing to choose.
    pub choices: &'a [Choice],
    /// Places that it has already. The first of a key counts.
    pub held: Vec<&'a HeldClaim>,
}

/// The places that a change or a hold gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Index of the choice, if there is one.
    pub choice: Option<usize>,
    /// Place of each claim.
    pub claims: Vec<HeldClaim>,
}

impl<'a> PlaceRequest<'a> {
    /// Returns the places of a request that needs no look at others: it has no choices, and each of its claims is held
    /// already or has one place. `None` for any other request.
    pub fn plain(&self) -> Option<Settled> {
        let is_plain = |claim: &Claim| claim.places == 1 || self.held_place(&claim.key).is_some();
        if !self.choices.is_empty() || !self.claims.iter().all(is_plain) {
            return None;
        }
        let place = |claim: &Claim| {
            let ordinal = self.held_place(&claim.key).unwrap_or_default();
            HeldClaim { key: claim.key.clone(), ordinal }
        };
        Some(Settled { choice: None, claims: self.claims.iter().map(place).collect() })
    }

    /// Finds a place for each claim: the one that is held already, or else the lowest that is free. Of the choices, takes
    /// the one that is held already, or else the first of which every claim is free. `taken` returns the places of a
    /// claim's key that others hold.
    ///
    /// # Errors
    /// Returns the error of `taken`. The inner error is the key of a claim without a free place.
    pub fn settle<E>(
        &self,
        mut taken: impl FnMut(&Claim) -> Result<BTreeSet<u16>, E>,
    ) -> Result<Result<Settled, String>, E> {
        let mut place = |claim: &Claim| -> Result<Option<HeldClaim>, E> {
            let mut ordinal = self.held_place(&claim.key);
            if ordinal.is_none() {
                let taken = taken(claim)?;
                ordinal = (0..claim.places).find(|ordinal| !taken.contains(ordinal));
            }
            Ok(ordinal.map(|ordinal| HeldClaim { key: claim.key.clone(), ordinal }))
        };
        let mut places = |claims: &[Claim]| -> Result<Result<Vec<HeldClaim>, String>, E> {
            let mut found = Vec::with_capacity(claims.len());
            for claim in claims {
                match place(claim)? {
                    Some(held) => found.push(held),
                    None => return Ok(Err(claim.key.clone())),
                }
            }
            Ok(Ok(found))
        };
        let claims = match places(self.claims)? {
            Ok(claims) => claims,
            Err(full) => return Ok(Err(full)),
        };
        if self.choices.is_empty() {
            return Ok(Ok(Settled { choice: None, claims }));
        }
        let mut first_full = None;
        for index in self.choices_in_order() {
            match places(&self.choices[index].claims)? {
                Ok(chosen) => {
                    return Ok(Ok(Settled { choice: Some(index), claims: [claims, chosen].concat() }));
                }
                Err(full) => {
                    first_full.get_or_insert(full);
                }
            }
        }
        Ok(Err(first_full.expect("there is a choice, and it was full")))
    }

    /// Returns the indices of the choices. Those that are held already come first.
    fn choices_in_order(&self) -> impl Iterator<Item = usize> {
        let is_held = |choice: &Choice| choice.claims.iter().all(|claim| self.held_place(&claim.key).is_some());
        let (held, others): (Vec<_>, Vec<_>) =
            (0..self.choices.len()).partition(|index| is_held(&self.choices[*index]));
        held.into_iter().chain(others)
    }

    fn held_place(&self, key: &str) -> Option<u16> {
        self.held.iter().find(|held| held.key == key).map(|held| held.ordinal)
    }

    /// Returns all claims of the request and its choices for which no place is held yet.
    pub fn wanted(self) -> impl Iterator<Item = &'a Claim> {
        let choices = self.choices.iter().flat_map(|choice| &choice.claims);
        self.claims.iter().chain(choices).filter(move |claim| self.held_place(&claim.key).is_none())
    }
}
