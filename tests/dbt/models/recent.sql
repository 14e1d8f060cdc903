{{ config(materialized='ephemeral') }}
select * from {{ ref('trips') }} where started < timestamp '{{ var("now") }}' + interval '1' day
