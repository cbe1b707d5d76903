-- Her language, for what she is told: what the shop knows of her, else what her newest phone says.
create function locale_of(whom text) returns text language sql stable as $$
    select coalesce((select locale from customers where customer_id = whom),
                    (select locale from devices where customer_id = whom and locale is not null
                     order by registered_at desc limit 1))
$$;
