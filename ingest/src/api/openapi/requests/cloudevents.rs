//! CloudEvents as they are taken in JSON (CloudEvents 1.0.2, JSON format).

use fairhook_common::limits;
use fairhook_common::time::Timestamp;
use serde_json::json;
use utoipa::openapi::schema::{Schema, SchemaFormat, SchemaType};
use utoipa::openapi::{ArrayBuilder, KnownFormat, ObjectBuilder, Ref, RefOr, Type};
use utoipa::{PartialSchema, ToSchema};

use super::super::words::EventTypeName;

/// No control character, and none of what Unicode says is no character.
const TEXT: &str = "^[^\\x00-\\x1f\\x7f-\\x9f\\ufdd0-\\ufdef\\ufffe\\uffff]*$";
const JSON_TYPE: &str =
    "^[A-Za-z0-9!#$%&'*+.^_`|~-]+/([A-Za-z0-9!#$%&'*+.^_`|~-]+\\+)?[Jj][Ss][Oo][Nn]( *;[ -~]*)?$";

/// One.
pub struct CloudEvent;

/// Many.
pub struct CloudEventBatch;

impl PartialSchema for CloudEvent {
    fn schema() -> RefOr<Schema> {
        let extension = ObjectBuilder::new()
            .schema_type(types([Type::String, Type::Integer, Type::Boolean, Type::Null]))
            .pattern(Some(TEXT))
            .minimum(Some(f64::from(i32::MIN)))
            .maximum(Some(f64::from(i32::MAX)));
        let uri = |name: &str| {
            ObjectBuilder::new()
                .schema_type(Type::String)
                .min_length(Some(1))
                .format(Some(SchemaFormat::Custom(name.into())))
        };
        ObjectBuilder::new()
            .schema_type(Type::Object)
            .description(Some(
                "A CloudEvent 1.0.2. `null` stands for an attribute that is not there. Its attributes have at most 64 KiB.",
            ))
            .property("specversion", ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["1.0"])))
            .required("specversion")
            .property("id", text(TEXT).description(Some("With `source` the idempotency key.")))
            .required("id")
            .property("source", uri("uri-reference"))
            .required("source")
            .property("type", EventTypeName::schema())
            .required("type")
            .property("subject", optional(text(TEXT)))
            .property("time", optional(text(TEXT).format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))))
            .property("dataschema", optional(uri("uri")))
            .property("datacontenttype", optional(text(JSON_TYPE).description(Some("Payloads are JSON."))))
            .property("data", ObjectBuilder::new().schema_type(SchemaType::AnyValue)
                .description(Some("The payload: any JSON; receivers get it byte for byte. `null` if it is left out.")))
            .property_names(Some(ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[a-z0-9]+$"))))
            .additional_properties(Some(extension))
            .max_properties(Some(limits::OBJECT_MEMBERS))
            .examples([json!({
                "specversion": "1.0", "id": "A-1001", "source": "/shop", "type": "order.paid", "time": Timestamp(1_769_860_800_000),
                "subject": "order 1001", "data": {"order": 1001, "total": "49.90"},
            })])
            .into()
    }
}

impl ToSchema for CloudEvent {}

impl PartialSchema for CloudEventBatch {
    fn schema() -> RefOr<Schema> {
        ArrayBuilder::new()
            .items(Ref::from_schema_name("CloudEvent"))
            .min_items(Some(1))
            .max_items(Some(limits::BATCH_EVENTS))
            .description(Some("Each stands alone; one that is not as it has to be is rejected alone."))
            .into()
    }
}

impl ToSchema for CloudEventBatch {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((CloudEvent::name().into_owned(), CloudEvent::schema()));
    }
}

fn text(pattern: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).pattern(Some(pattern))
}

fn optional(schema: ObjectBuilder) -> ObjectBuilder {
    schema.schema_type(types([Type::String, Type::Null]))
}

fn types<const N: usize>(types: [Type; N]) -> SchemaType {
    SchemaType::from_iter(types)
}
