{{ config(materialized='table', on_table_exists='drop', contract={'enforced': true}) }}
select id, fare, fare > 20 as dear from {{ ref('paid') }}
