//! Questions to nameservers. Spec: mihomo-surface §9.8.

use adit_dns::Question;
use adit_dns::hickory_proto::rr::{Name, Record, RecordType};
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use serde::Serialize;

use crate::daemon::DnsMessage;
use crate::json::{Json, Refusal, Text};
use crate::server::Shared;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Answer {
    status: u16,
    question: Vec<Asked>,
    #[serde(rename = "TC")]
    truncated: bool,
    #[serde(rename = "RD")]
    recursion_desired: bool,
    #[serde(rename = "RA")]
    recursion_available: bool,
    #[serde(rename = "AD")]
    authentic_data: bool,
    #[serde(rename = "CD")]
    checking_disabled: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    answer: Vec<Entry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    authority: Vec<Entry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    additional: Vec<Entry>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Asked {
    name: Text<Name>,
    qtype: u16,
    qclass: u16,
}

#[derive(Serialize)]
struct Entry {
    name: Text<Name>,
    r#type: u16,
    #[serde(rename = "TTL")]
    ttl: u32,
    data: String,
}

impl From<&Record> for Entry {
    fn from(record: &Record) -> Self {
        Self {
            name: Text(record.name.clone()),
            r#type: record.record_type().into(),
            ttl: record.ttl,
            data: record.data.to_string(),
        }
    }
}

impl From<&DnsMessage> for Answer {
    fn from(message: &DnsMessage) -> Self {
        let entries = |records: &[Record]| records.iter().map(Entry::from).collect();
        let asked = message.queries.iter().map(|query| Asked {
            name: Text(query.name().clone()),
            qtype: query.query_type().into(),
            qclass: query.query_class().into(),
        });
        Self {
            status: message.metadata.response_code.into(),
            question: asked.collect(),
            truncated: message.metadata.truncation,
            recursion_desired: message.metadata.recursion_desired,
            recursion_available: message.metadata.recursion_available,
            authentic_data: message.metadata.authentic_data,
            checking_disabled: message.metadata.checking_disabled,
            answer: entries(&message.answers),
            authority: entries(&message.authorities),
            additional: entries(&message.additionals),
        }
    }
}

/// `GET /dns/query`.
pub(super) async fn query(State(shared): State<Shared>, uri: Uri) -> Result<Json<Answer>, Refusal> {
    let kind = super::query(&uri, "type").filter(|kind| !kind.is_empty()).unwrap_or_else(|| "A".to_owned());
    let kind: RecordType = kind.parse().map_err(|_| Refusal::bad("invalid query type"))?;
    let name = super::query(&uri, "name").unwrap_or_default();
    let name = Name::from_utf8(&name).map_err(|error| Refusal::bad(format!("invalid name: {error}")))?;
    let question = Question::new(name, kind);
    let message = shared.daemon.ask(&question).await.map_err(|error| Refusal::failed(error.to_string()))?;
    Ok(Json(Answer::from(&message)))
}

/// `POST /cache/fakeip/flush`.
pub(super) async fn flush_fake_ip(State(shared): State<Shared>) -> Result<StatusCode, Refusal> {
    shared.daemon.flush_fake_ip().map_err(Refusal::bad)?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /cache/dns/flush`.
pub(super) async fn flush(State(shared): State<Shared>) -> StatusCode {
    shared.daemon.flush_dns();
    StatusCode::NO_CONTENT
}
