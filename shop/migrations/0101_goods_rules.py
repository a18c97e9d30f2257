"""What holds bundles and kinds in the database itself."""

from django.db import migrations

PART_IS_NO_BUNDLE = """
CREATE FUNCTION shop_part_is_no_bundle() RETURNS trigger LANGUAGE plpgsql AS $$
-- A bundle has no bundle in it. Both SKUs are locked, so that two people cannot each add one half of such a nest.
BEGIN
    PERFORM FROM shop_sku WHERE id IN (NEW.bundle_id, NEW.sku_id) ORDER BY id FOR NO KEY UPDATE;
    IF EXISTS (SELECT FROM shop_sku WHERE id = NEW.sku_id AND supply = 'parts')
       OR EXISTS (SELECT FROM shop_bundleitem WHERE bundle_id = NEW.sku_id)
       OR EXISTS (SELECT FROM shop_bundleitem WHERE sku_id = NEW.bundle_id) THEN
        RAISE EXCEPTION 'SKU % cannot be a part of SKU %', NEW.sku_id, NEW.bundle_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'a_part_is_no_bundle';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER a_part_is_no_bundle BEFORE INSERT OR UPDATE ON shop_bundleitem
    FOR EACH ROW EXECUTE FUNCTION shop_part_is_no_bundle();
"""
SUPPLY_STAYS = """
CREATE FUNCTION shop_supply_stays() RETURNS trigger LANGUAGE plpgsql AS $$
-- Where the pieces of a SKU come from cannot change once it was ordered, is a part of a bundle, or has parts.
BEGIN
    IF EXISTS (SELECT FROM shop_orderline WHERE sku_id = NEW.id)
       OR EXISTS (SELECT FROM shop_orderbundle WHERE sku_id = NEW.id)
       OR EXISTS (SELECT FROM shop_bundleitem WHERE NEW.id IN (bundle_id, sku_id)) THEN
        RAISE EXCEPTION 'SKU % keeps where its pieces come from', NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'the_supply_of_what_was_sold_stays';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER the_supply_of_what_was_sold_stays BEFORE UPDATE OF supply ON shop_sku
    FOR EACH ROW WHEN (OLD.supply IS DISTINCT FROM NEW.supply) EXECUTE FUNCTION shop_supply_stays();
"""


class Migration(migrations.Migration):
    dependencies = [("shop", "0100_goods")]

    operations = [
        migrations.RunSQL(
            PART_IS_NO_BUNDLE,
            "DROP TRIGGER a_part_is_no_bundle ON shop_bundleitem; DROP FUNCTION shop_part_is_no_bundle()",
        ),
        migrations.RunSQL(
            SUPPLY_STAYS,
            "DROP TRIGGER the_supply_of_what_was_sold_stays ON shop_sku; DROP FUNCTION shop_supply_stays()",
        ),
    ]
