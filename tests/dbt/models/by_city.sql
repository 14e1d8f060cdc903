{{ config(materialized='table', on_table_exists='replace', properties={'format_version': '2', 'sorted_by': "ARRAY['city']"}) }}
select
    s.city,
    count(*) as trips,
    sum(p.fare) as fares,
    {{ dbt.listagg('p.id', "'+'", 'order by p.id') }} as ids,
    {{ dbt.hash('s.city') }} as hashed,
    max({{ dbt.datediff('s.opened', 'p.started', 'day') }}) as days_open
from {{ ref('paid') }} as p
join {{ ref('stations') }} as s on s.id = p.station_id
group by s.city
