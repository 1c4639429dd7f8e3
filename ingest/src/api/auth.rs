//! Who calls: `Authorization: Bearer KEY`, the configured operator key or a stored one.

use std::net::IpAddr;
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderValue, header};
use fairhook_common::ids::TenantId;
use fairhook_common::key::{self, ApiKey, KeyText, Scope};
use fairhook_common::store::StoreError;
use fairhook_common::time::Timestamp;
use sha2::{Digest, Sha256};

use super::memory::Memory;
use super::problem::{Code, Problem};

/// The configured operator key, of which only the hash is kept.
#[derive(Clone)]
pub struct OperatorKey([u8; 32]);

impl OperatorKey {
    /// Keeps the hash of `text`.
    pub fn new(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }

    fn is(&self, text: &str) -> bool {
        key::same_hash(&self.0, &Sha256::digest(text.as_bytes()).into())
    }
}

impl std::fmt::Debug for OperatorKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OperatorKey(…)")
    }
}

/// Who calls.
#[derive(Debug, Clone)]
pub enum Caller {
    /// Whoever holds the configured operator key.
    Root,
    /// Whoever holds this key.
    Key(Arc<ApiKey>),
}

impl Caller {
    /// The tenant whose key it is; `None`: an operator.
    pub fn tenant(&self) -> Option<TenantId> {
        match self {
            Self::Root => None,
            Self::Key(key) => key.tenant,
        }
    }

    /// Whether the caller has this scope.
    pub fn has(&self, scope: Scope) -> bool {
        match self {
            Self::Root => true,
            Self::Key(key) => key.scopes.contains(&scope),
        }
    }

    /// All that the caller may do, and so the most that a key it makes may.
    pub fn scopes(&self) -> impl Iterator<Item = Scope> {
        Scope::ALL.iter().map(|(scope, _)| *scope).filter(|scope| self.has(*scope))
    }

    /// Refuses a caller without this scope.
    pub fn must_have(&self, scope: Scope) -> Result<(), Problem> {
        if self.has(scope) {
            return Ok(());
        }
        let name = scope.name();
        Err(Problem::new(Code::MissingScope, format!("the key lacks the scope `{name}`"))
            .member("scope", name.into()))
    }

    /// Refuses a caller that is no operator, or has not this scope.
    pub fn must_be_operator(&self, scope: Scope) -> Result<(), Problem> {
        if self.tenant().is_some() {
            return Err(Problem::new(Code::OperatorRequired, "this is for an operator's key"));
        }
        self.must_have(scope)
    }
}

/// What a stranger has given to be known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given {
    /// Nothing.
    Nothing,
    /// A key that is not valid.
    Key,
    /// The token of a source that there is not.
    Token,
}

/// Why it is not known who calls.
#[derive(Debug)]
pub enum Unknown {
    /// There is no valid key.
    Stranger {
        /// What to answer.
        problem: Problem,
        /// By what it wanted to be known.
        given: Given,
    },
    /// It could not be found out.
    Failed(Problem),
}

impl From<StoreError> for Unknown {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

/// Finds out who calls from `from`. Every way to fail looks the same to a stranger.
pub async fn authenticate(
    headers: &HeaderMap,
    root: &OperatorKey,
    memory: &Memory,
    from: IpAddr,
    now: Timestamp,
) -> Result<Caller, Unknown> {
    let none = |problem| Unknown::Stranger { problem, given: Given::Nothing };
    let Some(text) = bearer(headers).map_err(none)? else {
        return Err(none(unauthorized("no API key: send `Authorization: Bearer KEY`", false)));
    };
    let invalid = |detail: &str| Unknown::Stranger { problem: unauthorized(detail, true), given: Given::Key };
    let unknown = || invalid("the API key is not known");
    if root.is(text) {
        return Ok(Caller::Root);
    }
    let given: KeyText = text.parse().map_err(|()| unknown())?;
    let stored = memory.key(given.id, from).await?;
    let key = stored.filter(|key| key::same_hash(&key.secret_hash, &given.hash())).ok_or_else(unknown)?;
    if key.revoked_at.is_some() {
        return Err(invalid("the API key is revoked"));
    }
    if key.expires_at.is_some_and(|at| at <= now) {
        return Err(invalid("the API key has expired"));
    }
    Ok(Caller::Key(key))
}

fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        // Whatever stands before us may have gone by the other one.
        return Err(unauthorized("the header Authorization is given twice", false));
    }
    let text = value.to_str().ok();
    let key = text
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    match key {
        Some((_, key)) if !key.trim().is_empty() => Ok(Some(key.trim())),
        _ => Err(unauthorized("the header must be `Authorization: Bearer KEY`", false)),
    }
}

/// A caller without a key that counts.
pub(super) fn unauthorized(detail: &str, a_key_was_given: bool) -> Problem {
    let challenge = match a_key_was_given {
        true => r#"Bearer realm="fairhook", error="invalid_token""#,
        false => r#"Bearer realm="fairhook""#,
    };
    Problem::new(Code::Unauthorized, detail)
        .header(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bearer_with_a_key_is_read() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, text.parse().expect("a value"));
            bearer(&headers).map(|key| key.map(str::to_owned)).map_err(|p| p.code())
        };
        assert_eq!(read("Bearer abc"), Ok(Some("abc".into())));
        assert_eq!(read("bearer  abc "), Ok(Some("abc".into())));
        for bad in ["Basic abc", "Bearer", "Bearer  ", "abc"] {
            assert_eq!(read(bad), Err(Code::Unauthorized), "{bad}");
        }
        assert_eq!(bearer(&HeaderMap::new()).map_err(|p| p.code()), Ok(None));
        let mut twice = HeaderMap::new();
        for key in ["Bearer abc", "Bearer def"] {
            twice.append(header::AUTHORIZATION, key.parse().expect("a value"));
        }
        assert_eq!(bearer(&twice).map_err(|p| p.code()), Err(Code::Unauthorized));
    }

    #[test]
    fn the_operator_key_is_kept_as_a_hash_only() {
        let key = OperatorKey::new("a very secret operator key");
        assert!(key.is("a very secret operator key") && !key.is("another"));
        assert!(!format!("{key:?}").contains("secret"));
    }
}
