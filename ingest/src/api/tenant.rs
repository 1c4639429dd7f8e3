//! For whom a request acts. The tenant is that of the key; an operator names one in the path, in `X-Tenant-ID`, in the
//! body's `tenant_id`, or by a subdomain.

use std::fmt::Display;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::{HeaderMap, Uri, header, request};
use fairhook_common::endpoint::StatusReason;
use fairhook_common::ids::TenantId;
use fairhook_common::key::Scope;
use fairhook_common::limits;
use fairhook_common::slug::check_slug;
use fairhook_common::store::TenantRef;
use fairhook_common::tenant::{Tenant, TenantStatus};
use fairhook_common::time::Timestamp;
use uuid::Uuid;

use super::Edge;
use super::auth::{self, Caller};
use super::json::Fields;
use super::limiting::{ActsFor, Identified};
use super::page::Params;
use super::problem::{Code, Fault, Problem};
use super::read;

const TENANT_HEADER: &str = "x-tenant-id";

/// A request whose caller is known: what every handler begins with.
pub struct Asked {
    /// The part of the process that answers.
    pub edge: Arc<Edge>,
    /// Who calls.
    pub caller: Caller,
    /// From where.
    pub address: IpAddr,
    /// The request's headers.
    pub headers: HeaderMap,
    /// When it came.
    pub at: Timestamp,
    acts_for: ActsFor,
    uri: Uri,
    path: Vec<(String, String)>,
    subdomain: Option<String>,
}

/// For whom a request acts.
#[derive(Debug, Clone)]
pub struct Acting {
    /// The tenant.
    pub tenant: Arc<Tenant>,
    /// Whether an operator acts for it.
    pub by_operator: bool,
}

impl Acting {
    /// The tenant's id.
    pub fn id(&self) -> TenantId {
        self.tenant.id
    }

    /// The reason to note when this caller pauses something.
    pub fn pause_reason(&self) -> StatusReason {
        if self.by_operator { StatusReason::Operator } else { StatusReason::User }
    }
}

impl Asked {
    /// The tenant for which the request acts, if its caller has `scope`.
    pub async fn tenant(&self, scope: Scope) -> Result<Acting, Problem> {
        self.acting(scope, None).await
    }

    /// The same for a request with a body, which may name the tenant as well.
    pub async fn tenant_in(&self, scope: Scope, fields: &mut Fields<'_>) -> Result<Acting, Problem> {
        self.caller.must_have(scope)?;
        let named = match fields.raw("tenant_id").filter(|value| value.get() != "null") {
            Some(value) => {
                Some(read::text(limits::SHOWN_NAME_CHARS)(value).map_err(|f| f.into_problem("/tenant_id"))?)
            }
            None => None,
        };
        self.acting(scope, named.as_deref()).await
    }

    /// The same where an operator need not name one: then there is `None`.
    pub async fn tenant_or_any(&self, scope: Scope) -> Result<Option<Acting>, Problem> {
        if self.caller.tenant().is_none() && self.names(None)?.next().is_none() {
            self.caller.must_have(scope)?;
            return Ok(None);
        }
        self.acting(scope, None).await.map(Some)
    }

    /// The tenant for which the request acts, when its body (already read) names `in_body`.
    pub async fn acting(&self, scope: Scope, in_body: Option<&str>) -> Result<Acting, Problem> {
        self.caller.must_have(scope)?;
        let names = self.names(in_body)?;
        match self.caller.tenant() {
            Some(own) => self.as_tenant(own, names).await,
            None => self.as_operator(names).await,
        }
    }

    /// A tenant's key acts for its tenant, whatever way the request names it.
    async fn as_tenant<'n>(
        &self,
        own: TenantId,
        names: impl Iterator<Item = &'n str>,
    ) -> Result<Acting, Problem> {
        let found = self.edge.memory.tenant(&TenantRef::Id(own)).await?;
        let tenant = found.filter(|tenant| tenant.status == TenantStatus::Active);
        let tenant = tenant.ok_or_else(|| auth::unauthorized("the key's tenant is deleted", true))?;
        for name in names {
            if !means(name, &tenant) {
                let detail = format!("the key does not belong to the tenant `{}`", shown(name));
                return Err(Problem::new(Code::WrongTenant, detail));
            }
        }
        Ok(Acting { tenant, by_operator: false })
    }

    async fn as_operator<'n>(&self, names: impl Iterator<Item = &'n str>) -> Result<Acting, Problem> {
        let mut acting: Option<Arc<Tenant>> = None;
        for name in names {
            let named = self.named(name).await?;
            if acting.as_ref().is_some_and(|other| other.id != named.id) {
                let detail = "the path, X-Tenant-ID, tenant_id and the subdomain must mean the same tenant";
                return Err(Problem::new(Code::TenantConflict, detail));
            }
            acting = Some(named);
        }
        let tenant = acting.ok_or_else(|| {
            let detail =
                "name the tenant: /v1/tenants/{tenant}/…, the header X-Tenant-ID, or tenant_id in the body";
            Problem::new(Code::TenantRequired, detail)
        })?;
        self.acts_for.note(tenant.id);
        Ok(Acting { tenant, by_operator: true })
    }

    async fn named(&self, name: &str) -> Result<Arc<Tenant>, Problem> {
        let unknown = || Problem::new(Code::UnknownTenant, format!("there is no tenant `{}`", shown(name)));
        let named = tenant_ref(name).ok_or_else(unknown)?;
        self.edge.memory.tenant(&named).await?.ok_or_else(unknown)
    }

    /// Every name that the request gives the tenant.
    fn names<'n>(&'n self, in_body: Option<&'n str>) -> Result<impl Iterator<Item = &'n str>, Problem> {
        let not_text = |_| Problem::new(Code::InvalidRequest, "the header X-Tenant-ID is not text");
        let in_headers =
            self.headers.get_all(TENANT_HEADER).iter().map(|value| value.to_str().map_err(not_text));
        let in_headers = in_headers.collect::<Result<Vec<_>, _>>()?.into_iter().map(str::trim);
        let others = [self.param("tenant"), in_body, self.subdomain.as_deref()];
        Ok(others.into_iter().flatten().chain(in_headers))
    }

    /// A part of the path.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.path.iter().find(|(param, _)| param == name).map(|(_, value)| value.as_str())
    }

    /// A typed id out of the path; what is none names nothing that is there.
    pub fn id<T: FromStr>(&self, name: &str) -> Result<T, Problem> {
        self.param(name).and_then(|text| text.parse().ok()).ok_or_else(|| Problem::not_found(name))
    }

    /// The query.
    pub fn params(&self) -> Params {
        Params::of(self.uri.query())
    }
}

impl FromRequestParts<Arc<Edge>> for Asked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut request::Parts, edge: &Arc<Edge>) -> Result<Self, Problem> {
        let at = Timestamp::now();
        let identified = parts.extensions.get::<Identified>().cloned();
        let Identified { caller, address, acts_for } = identified.ok_or_else(|| {
            tracing::error!("a route is not `guarded`");
            Problem::new(Code::Internal, "the request could not be answered; the log says why")
        })?;
        // For the body, which is read behind this.
        parts.extensions.insert(edge.uploads.uploader(caller.tenant()));
        let path = RawPathParams::from_request_parts(parts, edge).await.map_err(|e| unreadable_path(&e))?;
        let path = path.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let host = parts.uri.host().or_else(|| parts.headers.get(header::HOST)?.to_str().ok());
        let subdomain =
            edge.settings.base_domain.as_deref().zip(host).and_then(|(base, host)| subdomain(host, base));
        let (headers, uri) = (parts.headers.clone(), parts.uri.clone());
        Ok(Self { edge: edge.clone(), caller, address, headers, at, acts_for, uri, path, subdomain })
    }
}

fn unreadable_path(error: &dyn Display) -> Problem {
    Problem::invalid(vec![Fault::of_parameter("path", error)])
}

/// How a text names a tenant: by its typed id, its bare UUID, or its slug.
pub fn tenant_ref(text: &str) -> Option<TenantRef> {
    let by_id = text.parse().ok().or_else(|| Uuid::try_parse(text).ok().map(TenantId::from_uuid));
    by_id.map(TenantRef::Id).or_else(|| check_slug(text).ok().map(|()| TenantRef::Slug(text.to_owned())))
}

fn means(name: &str, tenant: &Tenant) -> bool {
    match tenant_ref(name) {
        Some(TenantRef::Id(id)) => id == tenant.id,
        Some(TenantRef::Slug(slug)) => slug == tenant.slug,
        None => false,
    }
}

fn shown(name: &str) -> String {
    name.chars().take(limits::SHOWN_NAME_CHARS).collect()
}

/// The label before `base` in `host`, if there is exactly one.
fn subdomain(host: &str, base: &str) -> Option<String> {
    let host = host
        .rsplit_once(':')
        .map_or(host, |(name, port)| if port.bytes().all(|b| b.is_ascii_digit()) { name } else { host });
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let label = host.strip_suffix(&base.to_ascii_lowercase())?.strip_suffix('.')?;
    (!label.is_empty() && !label.contains('.')).then(|| label.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_has_three_kinds_of_names() {
        let id = TenantId::generate();
        assert_eq!(tenant_ref(&id.to_string()), Some(TenantRef::Id(id)));
        assert_eq!(tenant_ref(&id.uuid().to_string()), Some(TenantRef::Id(id)));
        assert_eq!(tenant_ref("acme-1"), Some(TenantRef::Slug("acme-1".into())));
        for none in ["", "Acme", "a b", "-a", "a-", "ten_x", "é", &"a".repeat(64)] {
            assert_eq!(tenant_ref(none), None, "{none}");
        }
        assert!(check_slug(&id.uuid().to_string()).is_err());
    }

    #[test]
    fn a_subdomain_is_one_label_before_the_base() {
        let of = |host| subdomain(host, "hooks.example.com");
        assert_eq!(of("acme.hooks.example.com"), Some("acme".into()));
        assert_eq!(of("ACME.Hooks.example.com:3000"), Some("acme".into()));
        for none in [
            "hooks.example.com",
            "a.b.hooks.example.com",
            "acmehooks.example.com",
            "localhost:3000",
            "[::1]:80",
        ] {
            assert_eq!(of(none), None, "{none}");
        }
    }
}
