"""What tells nothing by its failing: functions, operators, casts and nodes that have a result for every value.

Whether a statement fails, how long it takes and how many rows it returns is seen by its author, masked or not:
`1 / (length(email) - 21)`, `email::int`, `generate_series(1, ascii(email))`. So a column inside anything that is not
named here counts as deciding. Allow-lists; a user's own function, operator or type is never total.
"""

from __future__ import annotations

from interlock.facts.sql.names import Name, words

FUNCTIONS = words(
    "lower upper initcap reverse btrim ltrim rtrim trim length char_length character_length octet_length bit_length ascii md5 "
    "sha224 sha256 sha384 sha512 hashtext concat concat_ws left right substr substring strpos position replace translate split_part "
    "starts_with quote_literal quote_ident quote_nullable to_hex encode coalesce "
    "count sum avg string_agg array_agg any_value min max bool_and bool_or every json_agg jsonb_agg json_object_agg jsonb_object_agg "
    "json_agg_strict jsonb_agg_strict percentile_disc percentile_cont mode "
    "row_number rank dense_rank percent_rank cume_dist lag lead first_value last_value "
    "to_json to_jsonb row_to_json array_to_json json_build_object jsonb_build_object json_build_array jsonb_build_array json_typeof "
    "jsonb_typeof json_strip_nulls jsonb_strip_nulls jsonb_pretty json_extract_path json_extract_path_text jsonb_extract_path "
    "jsonb_extract_path_text "
    "array_to_string array_length array_upper array_lower array_ndims cardinality array_position array_append array_prepend array_remove "
    "extract date_part date_trunc to_char age host text abbrev family masklen broadcast network "
    "pg_typeof pg_column_size num_nulls num_nonnulls"
)
ONE_ARGUMENT = {"encode": 0, "split_part": 0, "substr": 0, "substring": 0, "to_char": 0, "extract": 1, "date_part": 1, "date_trunc": 1}
"""Total over the argument at this place only."""
OPERATORS = frozenset(
    {"||", "=", "<>", "!=", "<", ">", "<=", ">=", "~~", "!~~", "~~*", "!~~*", "->", "->>", "#>", "#>>", "@>", "<@", "?", "&&"}
)
PATTERNS = frozenset({"~~", "!~~", "~~*", "!~~*"})
"""Total over the text, but not over the pattern."""
CASTS = words("text varchar bpchar name")
"""Types that every value can be cast to."""
NODES = words(
    "A_ArrayExpr A_Const A_Indices A_Star Alias BooleanTest CaseWhen CoalesceExpr CollateClause ColumnDef CommonTableExpr "
    "CurrentOfExpr DefElem GroupingFunc GroupingSet IndexElem JsonAggConstructor JsonArgument JsonArrayAgg "
    "JsonArrayConstructor JsonArrayQueryConstructor JsonFormat JsonIsPredicate JsonKeyValue JsonObjectAgg "
    "JsonObjectConstructor JsonOutput JsonReturning JsonScalarExpr JsonSerializeExpr JsonValueExpr List MergeSupportFunc "
    "MultiAssignRef NamedArgExpr NullTest ParamRef RangeVar ResTarget RowExpr SQLValueFunction SetToDefault SortBy String "
    "TypeName WindowDef "
)
"""Nodes that only hold or join values; those with a rule of their own in `expressions.py` are not named."""


def is_cast(name: Name) -> bool:
    """Whether a cast to this type cannot fail (`text`, `pg_catalog.varchar`)."""
    return name[-1] in CASTS and name[:-1] in ((), ("pg_catalog",))
