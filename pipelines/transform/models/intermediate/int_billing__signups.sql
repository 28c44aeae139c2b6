-- One row per provider, billing account and sign-up term: a fee or credit that the vendor states for every customer. A fee or
-- grant of the user with the same name replaces it.

with

billing_accounts as (

    select * from {{ ref('stg_billing__accounts') }}

),

signup_terms as (

    select * from {{ ref('signup_terms') }}

),

fees as (

    select * from {{ ref('stg_billing__fees') }}

),

grants as (

    select * from {{ ref('stg_billing__credit_grants') }}

),

own_terms as (

    select distinct provider, billing_account, 'fee' as kind, fee_id as term_id from fees
    union all
    select distinct provider, billing_account, 'credit' as kind, grant_id as term_id from grants

),

-- Several accounts may share a billing account, which signed up once.
signed_up as (

    select
        provider,
        billing_account,
        min(signed_up_on) as signed_up_on
    from billing_accounts
    where signed_up_on is not null
    group by provider, billing_account

),

final as (

    select
        signed_up.provider,
        signed_up.billing_account,
        signup_terms.term_id,
        signup_terms.kind,
        signup_terms.description,
        signup_terms.amount,
        signup_terms.currency,
        signed_up.signed_up_on
    from signed_up
    inner join signup_terms
        on signed_up.provider = signup_terms.provider
    left join own_terms
        on signed_up.provider = own_terms.provider
        and signed_up.billing_account = own_terms.billing_account
        and signup_terms.kind = own_terms.kind
        and signup_terms.term_id = own_terms.term_id
    where own_terms.term_id is null

)

select * from final
