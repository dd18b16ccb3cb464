create table t(a integer primary key, b text, c real);
with recursive n(i) as (select 1 union all select i + 1 from n where i < ROWS)
  insert into t select i, 'row ' || i, i * 1.5 from n;
create index tb on t(b);
select count(*), sum(c) from t where b like 'row 1%';
select sum(length(b)) from t where a % 7 = 0;
select a from t order by c desc limit 3;
