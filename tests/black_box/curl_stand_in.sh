# Stands in for curl where it is not installed: as much of it as the printed lines use.
curl() {
  local method='' body='' url='' headers=()
  while (($#)); do
    case $1 in
      -s) ;;
      -X) method=$2; shift ;;
      -H) headers+=("$2"); shift ;;
      -d) body=$2; shift ;;
      *) url=${1#http://} ;;
    esac
    shift
  done
  local host=${url%%/*}
  exec 3<>"/dev/tcp/${host%:*}/${host#*:}"
  {
    printf '%s /%s HTTP/1.1\r\n' "${method:-${body:+POST}}" "${url#*/}"
    printf 'Host: %s\r\nConnection: close\r\nContent-Length: %d\r\n' "$host" "${#body}"
    printf '%s\r\n' "${headers[@]}"
    printf '\r\n%s' "$body"
  } >&3
  sed '1,/^\r$/d' <&3
  exec 3>&-
}
