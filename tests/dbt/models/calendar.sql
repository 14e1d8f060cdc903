{{ config(materialized='table', on_table_exists='skip') }}
{{ dbt.date_spine('day', "date '2024-05-01'", "date '2024-05-08'") }}
