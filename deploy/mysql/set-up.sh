# Run once by the MySQL image on an empty data directory: the reference schema, then the accounts of connect/grants.
# Fills ${NAME} and ${NAME:-default} from the environment, as `cdc-consumer grants` does, which the image does not have;
# so passwords are of letters and digits here, and nothing in them is quoted.
# shellcheck shell=bash

cdc_fill() {
  local text filled='' match value
  text=$(grep -v '^--' "$1")
  while [[ $text =~ \$\{([A-Za-z_][A-Za-z0-9_]*)(:-([^}]*))?\} ]]; do
    match=${BASH_REMATCH[0]}
    if [[ -n ${!BASH_REMATCH[1]-} ]]; then
      value=${!BASH_REMATCH[1]}
    elif [[ -n ${BASH_REMATCH[2]} ]]; then
      value=${BASH_REMATCH[3]}
    else
      echo "set-up: ${BASH_REMATCH[1]} has no value, and $1 needs one" >&2
      return 2
    fi
    filled+=${text%%"$match"*}$value
    text=${text#*"$match"}
  done
  printf '%s\n' "$filled$text"
}

cdc_set_up() {
  local schema grants
  schema=$(cdc_fill "${CDC_SCHEMA_FILE:-/opt/cdc/schema.sql}") || return
  grants=$(cdc_fill "${CDC_GRANTS_FILE:-/opt/cdc/grants.sql}") || return
  # The binlog begins with the platform's own changes, not with the making of accounts.
  printf 'SET SESSION sql_log_bin = 0;\n%s\n%s\n' "$schema" "$grants" |
    MYSQL_PWD=$MYSQL_ROOT_PASSWORD mysql --protocol=socket --user=root "$MYSQL_DATABASE"
}

cdc_set_up
