/*
 * Which bounds of Iceberg types may leave files out. What a type is called in SQL:
 * engine/sql_type.h.
 */
#include "query/types.h"

bool query_type_has_bounds(const struct ice_type *type)
{
    switch (type->kind) {
    case ICE_BOOLEAN:
    case ICE_INT:
    case ICE_LONG:
    case ICE_FLOAT:
    case ICE_DOUBLE:
    case ICE_DATE:
    case ICE_TIME:
    case ICE_TIMESTAMP:
    case ICE_TIMESTAMPTZ:
    case ICE_STRING:
    case ICE_DECIMAL:
        return true;
    case ICE_UUID:   /* writers disagree about its order */
    case ICE_BINARY: /* as text a blob has escapes; nobody filters on it */
    case ICE_FIXED:
    case ICE_STRUCT:
    case ICE_LIST:
    case ICE_MAP:
    case ICE_OTHER:
        break;
    }
    return false;
}
