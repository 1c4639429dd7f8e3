//! How the API's document describes the types whose JSON is a text of a certain form.

/// Gives a type a schema: a text that matches `pattern`, with its description and an example.
macro_rules! described_as_text {
    ($type:ty, $description:expr, $pattern:expr, $example:expr) => {
        impl utoipa::PartialSchema for $type {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                utoipa::openapi::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::Type::String)
                    .description(Some($description))
                    .pattern(Some($pattern))
                    .examples([$example])
                    .into()
            }
        }

        impl utoipa::ToSchema for $type {}
    };
}
pub(crate) use described_as_text;
