{{ config(store_failures=true, warn_if='> 10', error_if='> 20') }}
select city from {{ ref('by_city') }} where trips = 0
